// What a .tflite file says of itself, read within its bounds before a runtime sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace edgekit {

struct TensorType {
  const char* name;  // as numpy calls it
  int runtime_code;  // TfLiteType and LiteRtElementType; differs from the file's own numbers
  int bytes;         // of one element; 0 where elements have no fixed size of whole bytes
};

struct Tensor {
  std::string name;
  TensorType type;
  std::vector<int32_t> shape;  // a dimension the file leaves open is 1
  bool open_shape = false;     // the file leaves a dimension open (-1)
  size_t bytes = 0;
};

// Subgraph 0, the one that is run.
struct Model {
  int64_t operators = 0;
  std::vector<std::string> custom_ops;  // the names of those it uses, without repeats
  std::vector<Tensor> inputs, outputs;
  // The signature that runs subgraph 0: 0 where the file has no signatures (runtimes then make one
  // up), -1 where it has some and none of them does.
  int signature = 0;
};

// Throws Failure(kUnreadable) where the bytes are not a sound .tflite file; `path` is for the
// message.
Model ReadModel(const uint8_t* data, size_t size, const std::string& path);

}  // namespace edgekit
