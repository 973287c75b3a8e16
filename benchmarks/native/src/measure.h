// The loop that measures.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "context.h"
#include "options.h"
#include "runtime.h"

namespace edgekit {

struct TimelinePoint {
  int64_t t_ns;  // since the first sample began
  State state;
};

struct Samples {
  int64_t first_ns = 0;
  std::vector<int64_t> warmup_ns;
  std::vector<int64_t> samples_ns;
  std::vector<int64_t> starts_ns;  // since the first sample began
  std::vector<TimelinePoint> timeline;
};

// More are not kept: a tiny model measured for hours would fill the memory.
constexpr size_t kMostSamples = 4'000'000;

// The first inference, timed apart.
void RunFirst(Runtime* runtime, Samples* samples);

// Warm-up, then the samples. Each is the time of Runtime::Invoke and of nothing else; the machine's
// state and the progress line come between samples, once a second at most. Ends early where
// StopRequested or kMostSamples are there. Throws Failure where an inference fails.
void RunMany(const Options& options, const Machine& machine, Runtime* runtime, Samples* samples);

}  // namespace edgekit
