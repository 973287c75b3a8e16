#include "input.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "failure.h"
#include "sha256.h"
#include "text.h"

namespace edgekit {
namespace {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// -1, -0.75 ... 0.75 in the two 16-bit floats.
constexpr uint16_t kHalf[8] = {0xBC00, 0xBA00, 0xB800, 0xB400, 0, 0x3400, 0x3800, 0x3A00};
constexpr uint16_t kBfloat[8] = {0xBF80, 0xBF40, 0xBF00, 0xBE80, 0, 0x3E80, 0x3F00, 0x3F40};

template <typename T, typename Draw>
void Fill(Bytes* bytes, Draw draw) {
  for (size_t i = 0; i + sizeof(T) <= bytes->size(); i += sizeof(T)) {
    const T value = static_cast<T>(draw());
    memcpy(bytes->data() + i, &value, sizeof(T));
  }
}

Bytes RandomInput(const Tensor& tensor, SplitMix64* random) {
  Bytes bytes(tensor.bytes);
  const std::string type = tensor.type.name;
  const auto index = [&] { return random->Next() >> 57; };
  const auto real = [&] { return static_cast<double>(random->Next() >> 40) / 8388608.0 - 1.0; };
  if (type == "int8" || type == "uint8" || type == "int16" || type == "uint16") {
    for (size_t i = 0; i < bytes.size(); i += 8) {
      const uint64_t value = random->Next();
      memcpy(bytes.data() + i, &value, std::min<size_t>(8, bytes.size() - i));
    }
  } else if (type == "int32" || type == "uint32") {
    Fill<uint32_t>(&bytes, index);
  } else if (type == "int64" || type == "uint64") {
    Fill<uint64_t>(&bytes, index);
  } else if (type == "bool") {
    Fill<uint8_t>(&bytes, [&] { return random->Next() >> 63; });
  } else if (type == "float32") {
    Fill<float>(&bytes, real);
  } else if (type == "float64") {
    Fill<double>(&bytes, real);
  } else if (type == "float16") {
    Fill<uint16_t>(&bytes, [&] { return kHalf[random->Next() >> 61]; });
  } else if (type == "bfloat16") {
    Fill<uint16_t>(&bytes, [&] { return kBfloat[random->Next() >> 61]; });
  } else {
    throw Failure(kUsage,
                  Format("input \"%s\" has the type %s, for which there are no random values",
                         tensor.name.c_str(), tensor.type.name),
                  "Use --input zeros or --input file:PATH.");
  }
  return bytes;
}

size_t TotalBytes(const std::vector<Tensor>& tensors) {
  size_t total = 0;
  for (const Tensor& tensor : tensors) total += tensor.bytes;
  return total;
}

std::vector<Bytes> FromFile(const std::string& path, const Model& model) {
  const Bytes content = ReadFile(path);
  const size_t wanted = TotalBytes(model.inputs);
  if (content.size() != wanted) {
    throw Failure(kUsage,
                  Format("%s: %zu bytes, but the model takes %zu", path.c_str(), content.size(),
                         wanted),
                  "The file holds the raw bytes of all inputs, one after the other.");
  }
  std::vector<Bytes> inputs;
  auto at = content.begin();
  for (const Tensor& tensor : model.inputs) {
    inputs.emplace_back(at, at + tensor.bytes);
    at += tensor.bytes;
  }
  return inputs;
}

template <typename T>
double ElementDifference(const uint8_t* a, const uint8_t* b) {
  T x, y;
  memcpy(&x, a, sizeof(T));
  memcpy(&y, b, sizeof(T));
  const double difference = std::fabs(static_cast<double>(x) - static_cast<double>(y));
  const bool both_nan = std::isnan(static_cast<double>(x)) && std::isnan(static_cast<double>(y));
  if (both_nan || x == y) return 0;  // equal infinities too, whose difference is no number
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

// 16-bit floats are compared by value too: both are cut-off or rebiased 32-bit ones.
float FromBfloat(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

float FromHalf(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<float>::infinity()
                          : std::numeric_limits<float>::quiet_NaN();
  }
  return bits & 0x8000 ? -value : value;
}

template <float (*Widen)(uint16_t)>
double SmallFloatDifference(const uint8_t* a, const uint8_t* b) {
  uint16_t x, y;
  memcpy(&x, a, 2);
  memcpy(&y, b, 2);
  const float wide_x = Widen(x), wide_y = Widen(y);
  return ElementDifference<float>(reinterpret_cast<const uint8_t*>(&wide_x),
                                  reinterpret_cast<const uint8_t*>(&wide_y));
}

using Difference = double (*)(const uint8_t*, const uint8_t*);

Difference DifferenceOf(const std::string& type) {
  if (type == "float32") return ElementDifference<float>;
  if (type == "float64") return ElementDifference<double>;
  if (type == "float16") return SmallFloatDifference<FromHalf>;
  if (type == "bfloat16") return SmallFloatDifference<FromBfloat>;
  if (type == "int8") return ElementDifference<int8_t>;
  if (type == "uint8" || type == "bool") return ElementDifference<uint8_t>;
  if (type == "int16") return ElementDifference<int16_t>;
  if (type == "uint16") return ElementDifference<uint16_t>;
  if (type == "int32") return ElementDifference<int32_t>;
  if (type == "uint32") return ElementDifference<uint32_t>;
  if (type == "int64") return ElementDifference<int64_t>;
  if (type == "uint64") return ElementDifference<uint64_t>;
  return nullptr;  // complex numbers, strings and such: the bytes are compared
}

}  // namespace

std::vector<Bytes> MakeInputs(const InputSource& source, const Model& model) {
  for (const Tensor& tensor : model.inputs) {
    if (tensor.type.bytes == 0) {
      throw Failure(kUsage, Format("input \"%s\" has the type %s, which can't be filled",
                                   tensor.name.c_str(), tensor.type.name));
    }
  }
  if (source.kind == InputSource::kFile) return FromFile(source.path, model);
  SplitMix64 random(source.seed);
  std::vector<Bytes> inputs;
  for (const Tensor& tensor : model.inputs) {
    inputs.push_back(source.kind == InputSource::kZeros ? Bytes(tensor.bytes)
                                                        : RandomInput(tensor, &random));
  }
  return inputs;
}

std::string HashOf(const std::vector<Bytes>& buffers) {
  Sha256 hash;
  for (const Bytes& buffer : buffers) hash.Update(buffer.data(), buffer.size());
  return hash.Hex();
}

GoldenResult CompareWithGolden(const Bytes& golden, const Model& model,
                               const std::vector<Bytes>& outputs) {
  GoldenResult result;
  const uint8_t* expected = golden.data();
  for (size_t o = 0; o < outputs.size(); ++o) {
    const Bytes& output = outputs[o];
    for (size_t i = 0; i < output.size(); ++i) result.differing_bytes += output[i] != expected[i];
    const TensorType& type = model.outputs[o].type;
    if (const Difference difference = DifferenceOf(type.name)) {
      for (size_t i = 0; i + type.bytes <= output.size(); i += type.bytes) {
        result.max_abs_difference = std::max(result.max_abs_difference,
                                             difference(output.data() + i, expected + i));
      }
    }
    expected += output.size();
  }
  result.equal = result.differing_bytes == 0;
  return result;
}

}  // namespace edgekit
