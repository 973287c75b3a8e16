// What goes into the model, and what came out of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model.h"

namespace edgekit {

using Bytes = std::vector<uint8_t>;

struct InputSource {
  enum Kind { kZeros, kRandom, kFile } kind = kRandom;
  uint64_t seed = 0;
  std::string path;
};

// One buffer for each input of the model.
//
// Random inputs are the same bytes on every machine. They come from SplitMix64 (Steele, Lea and
// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), whose state starts at the
// seed and runs on over all inputs in the file's order; each tensor starts with a fresh output x:
//   8- and 16-bit integers   the bytes of x, lowest first, one output after the other
//   int32, int64 and such    x >> 57, one output an element: 0..127, as they are indices nearly
//                            always, and one out of range would end the process
//   bool                     x >> 63
//   float32, float64         (x >> 40) / 2^23 - 1, in [-1, 1), exact
//   float16, bfloat16        (x >> 61) / 4 - 1, exact in both
//
// A file holds all inputs in order, with nothing between them.
std::vector<Bytes> MakeInputs(const InputSource& source, const Model& model);

std::string HashOf(const std::vector<Bytes>& buffers);

struct GoldenResult {
  bool equal = false;
  int64_t differing_bytes = 0;
  double max_abs_difference = 0;  // over all elements; infinite where just one of two is a number
};

// Compares the outputs with those of a file that `--dump-output` wrote.
GoldenResult CompareWithGolden(const Bytes& golden, const Model& model,
                               const std::vector<Bytes>& outputs);

}  // namespace edgekit
