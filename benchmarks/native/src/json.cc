#include "json.h"

#include <cmath>

#include "text.h"

namespace edgekit {
namespace {

// The length of the UTF-8 sequence at `i`, 0 where the bytes are not one (RFC 3629).
size_t Utf8Length(const std::string& text, size_t i) {
  const auto byte = [&](size_t at) -> unsigned {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
  };
  const auto follows = [&](size_t count) {
    for (size_t k = 1; k <= count; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    }
    return true;
  };
  const unsigned lead = byte(i), next = byte(i + 1);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF && follows(1)) return 2;
  if (lead >= 0xE0 && lead <= 0xEF && follows(2)) {
    const bool overlong = lead == 0xE0 && next < 0xA0;
    const bool surrogate = lead == 0xED && next > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4 && follows(3)) {
    const bool overlong = lead == 0xF0 && next < 0x90;
    const bool too_large = lead == 0xF4 && next > 0x8F;
    return overlong || too_large ? 0 : 4;
  }
  return 0;
}

}  // namespace

std::string Quote(const std::string& text) {
  std::string quoted = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t length = Utf8Length(text, i);
    const unsigned char byte = text[i];
    if (length == 0) {
      quoted += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      quoted += '\\';
      quoted += static_cast<char>(byte);
    } else if (byte < 0x20 || byte == 0x7F) {
      quoted += Format("\\u%04x", byte);
    } else {
      quoted.append(text, i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return quoted + '"';
}

void Json::Raw(const char* key, const std::string& value) {
  if (!first_) text_ += ", ";
  first_ = false;
  if (key != nullptr) text_ += Quote(key) + ": ";
  text_ += value;
}

void Json::Int(const char* key, int64_t value) {
  Raw(key, Format("%lld", static_cast<long long>(value)));
}

void Json::Number(const char* key, double value) {
  Raw(key, std::isfinite(value) ? Format("%.17g", value) : "null");
}

void Json::String(const char* key, const std::string& value) { Raw(key, Quote(value)); }

void Json::MaybeInt(const char* key, std::optional<int64_t> value) {
  value ? Int(key, *value) : Null(key);
}

void Json::MaybeBool(const char* key, std::optional<bool> value) {
  value ? Bool(key, *value) : Null(key);
}

void Json::MaybeString(const char* key, const std::optional<std::string>& value) {
  value ? String(key, *value) : Null(key);
}

void Json::Ints(const char* key, const std::vector<int64_t>& values) {
  Array(key, [&] {
    for (const int64_t value : values) Int(nullptr, value);
  });
}

void Json::Strings(const char* key, const std::vector<std::string>& values) {
  Array(key, [&] {
    for (const std::string& value : values) String(nullptr, value);
  });
}

void Json::IntMap(const char* key, const std::map<std::string, int64_t>& values) {
  Object(key, [&] {
    for (const auto& [name, value] : values) Int(name.c_str(), value);
  });
}

}  // namespace edgekit
