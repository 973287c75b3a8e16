#include "model.h"

#include <algorithm>
#include <cstring>

#include "failure.h"
#include "text.h"

namespace edgekit {
namespace {

struct Malformed {
  std::string what;
};

// The flatbuffer wire format: https://flatbuffers.dev/internals. Every offset is checked against
// the end of the file, so that no input can make this reader touch other memory.
class Flatbuffer {
 public:
  Flatbuffer(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  template <typename T>
  T Read(uint64_t at) const {
    if (at > size_ || size_ - at < sizeof(T)) {
      throw Malformed{Format("byte %llu lies behind the end", static_cast<unsigned long long>(at))};
    }
    T value;  // all targets are little-endian, as the format is
    memcpy(&value, data_ + at, sizeof(T));
    return value;
  }

  uint64_t Follow(uint64_t at) const { return at + Read<uint32_t>(at); }

  std::string Text(uint64_t at) const {
    const uint32_t length = Read<uint32_t>(at);
    CheckRange(at + 4, length, 1);
    return std::string(reinterpret_cast<const char*>(data_ + at + 4), length);
  }

  // The count of a vector whose elements, of that size, all lie inside the file.
  uint32_t Count(uint64_t at, size_t element) const {
    const uint32_t count = Read<uint32_t>(at);
    CheckRange(at + 4, count, element);
    return count;
  }

 private:
  void CheckRange(uint64_t at, uint64_t count, uint64_t element) const {
    if (at > size_ || count > (size_ - at) / element) {
      throw Malformed{Format("%llu elements at byte %llu reach behind the end",
                             static_cast<unsigned long long>(count),
                             static_cast<unsigned long long>(at))};
    }
  }

  const uint8_t* data_;
  uint64_t size_;
};

class Table {
 public:
  Table(const Flatbuffer& file, uint64_t at) : file_(file), at_(at) {
    const int64_t vtable = static_cast<int64_t>(at) - file.Read<int32_t>(at);
    if (vtable < 0) throw Malformed{"a table's layout lies before the start"};
    vtable_ = vtable;
    fields_ = file.Read<uint16_t>(vtable_) / 2;
  }

  template <typename T>
  T Scalar(int field, T otherwise) const {
    const uint64_t at = Field(field);
    return at == 0 ? otherwise : file_.Read<T>(at);
  }

  std::string Text(int field) const {
    const uint64_t at = Field(field);
    return at == 0 ? "" : file_.Text(file_.Follow(at));
  }

  std::vector<int32_t> Ints(int field) const {
    std::vector<int32_t> values;
    ForEach(field, 4, [&](uint64_t at) { values.push_back(file_.Read<int32_t>(at)); });
    return values;
  }

  std::vector<Table> Tables(int field) const {
    std::vector<Table> tables;
    ForEach(field, 4, [&](uint64_t at) { tables.emplace_back(file_, file_.Follow(at)); });
    return tables;
  }

 private:
  // 0 where the field is absent.
  uint64_t Field(int field) const {
    if (field + 2 >= fields_) return 0;
    const uint16_t offset = file_.Read<uint16_t>(vtable_ + 2 * (field + 2));
    return offset == 0 ? 0 : at_ + offset;
  }

  template <typename Body>
  void ForEach(int field, size_t element, Body body) const {
    const uint64_t offset = Field(field);
    if (offset == 0) return;
    const uint64_t at = file_.Follow(offset);
    const uint32_t count = file_.Count(at, element);
    for (uint32_t i = 0; i < count; ++i) body(at + 4 + element * i);
  }

  const Flatbuffer& file_;
  uint64_t at_ = 0, vtable_ = 0;
  int fields_ = 0;
};

// By the file's own number (tflite/schema/schema.fbs, TensorType); the second number is the
// runtimes' (tflite/core/c/c_api_types.h, TfLiteType).
constexpr TensorType kTypes[] = {
    {"float32", 1, 4},     {"float16", 10, 2}, {"int32", 2, 4},      {"uint8", 3, 1},
    {"int64", 4, 8},       {"string", 5, 0},   {"bool", 6, 1},       {"int16", 7, 2},
    {"complex64", 8, 8},   {"int8", 9, 1},     {"float64", 11, 8},   {"complex128", 12, 16},
    {"uint64", 13, 8},     {"resource", 14, 0}, {"variant", 15, 0},  {"uint32", 16, 4},
    {"uint16", 17, 2},     {"int4", 18, 0},    {"bfloat16", 19, 2},
};

// More is damage, not a model: 2 GiB is the flatbuffer's own limit.
constexpr uint64_t kMostBytes = uint64_t{1} << 31;

Tensor ReadTensor(const Table& table) {
  Tensor tensor;
  tensor.name = table.Text(3);
  tensor.shape = table.Ints(0);
  const int type = table.Scalar<int8_t>(1, 0);
  if (type < 0 || type >= static_cast<int>(std::size(kTypes))) {
    throw Malformed{Format("tensor \"%s\" has the unknown type %d", tensor.name.c_str(), type)};
  }
  tensor.type = kTypes[type];

  const std::vector<int32_t> signature = table.Ints(7);
  tensor.open_shape = std::count(signature.begin(), signature.end(), -1) > 0;
  uint64_t bytes = tensor.type.bytes;
  for (int32_t& dimension : tensor.shape) {
    if (dimension == -1) {
      tensor.open_shape = true;
      dimension = 1;
    }
    if (dimension < 0) {
      throw Malformed{Format("tensor \"%s\" has the dimension %d", tensor.name.c_str(), dimension)};
    }
    bytes *= dimension;
    if (bytes > kMostBytes) {
      throw Malformed{Format("tensor \"%s\" would be over 2 GiB", tensor.name.c_str())};
    }
  }
  tensor.bytes = bytes;
  return tensor;
}

std::vector<Tensor> ReadTensors(const std::vector<Table>& all, const std::vector<int32_t>& chosen) {
  std::vector<Tensor> tensors;
  for (const int32_t index : chosen) {
    if (index < 0 || static_cast<size_t>(index) >= all.size()) {
      throw Malformed{Format("tensor %d of %zu is an input or output", index, all.size())};
    }
    tensors.push_back(ReadTensor(all[index]));
  }
  return tensors;
}

std::vector<std::string> CustomOps(const std::vector<Table>& operators,
                                   const std::vector<Table>& codes) {
  constexpr int kCustom = 32;  // schema.fbs, BuiltinOperator
  std::vector<std::string> names;
  for (const Table& op : operators) {
    const uint32_t index = op.Scalar<uint32_t>(0, 0);
    if (index >= codes.size()) throw Malformed{Format("operator code %u doesn't exist", index)};
    const Table& code = codes[index];
    const int builtin = std::max<int>(code.Scalar<int8_t>(0, 0), code.Scalar<int32_t>(3, 0));
    if (builtin != kCustom) continue;
    const std::string name = code.Text(1);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

int SignatureOfMain(const std::vector<Table>& signatures) {
  for (size_t i = 0; i < signatures.size(); ++i) {
    if (signatures[i].Scalar<uint32_t>(4, 0) == 0) return static_cast<int>(i);
  }
  return signatures.empty() ? 0 : -1;
}

// The numbers of fields are those of schema.fbs.
Model Parse(const Flatbuffer& file) {
  const Table root(file, file.Follow(0));
  const std::vector<Table> subgraphs = root.Tables(2);
  if (subgraphs.empty()) throw Malformed{"there is no graph in it"};
  const std::vector<Table> tensors = subgraphs[0].Tables(0);
  const std::vector<Table> operators = subgraphs[0].Tables(3);

  Model model;
  model.operators = static_cast<int64_t>(operators.size());
  model.custom_ops = CustomOps(operators, root.Tables(1));
  model.inputs = ReadTensors(tensors, subgraphs[0].Ints(1));
  model.outputs = ReadTensors(tensors, subgraphs[0].Ints(2));
  model.signature = SignatureOfMain(root.Tables(7));
  return model;
}

}  // namespace

Model ReadModel(const uint8_t* data, size_t size, const std::string& path) {
  if (size < 8 || memcmp(data + 4, "TFL3", 4) != 0) {
    throw Failure(kUnreadable, path + ": not a .tflite file",
                  "Give the model that `edgekit convert` wrote.");
  }
  try {
    return Parse(Flatbuffer(data, size));
  } catch (const Malformed& malformed) {
    throw Failure(kUnreadable, path + ": not a sound .tflite file: " + malformed.what,
                  "The file is damaged or cut off; get or convert it again.");
  }
}

}  // namespace edgekit
