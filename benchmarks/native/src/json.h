// Writes one JSON document, in order, into a string.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace edgekit {

class Json {
 public:
  // Scopes: `Object(key, [&] { ... })` writes what the body writes between braces.
  template <typename Body>
  void Object(const char* key, Body body) {
    Scope(key, '{', '}', body);
  }
  template <typename Body>
  void Array(const char* key, Body body) {
    Scope(key, '[', ']', body);
  }

  // Values; `key` is null inside an array and for the document itself.
  void Null(const char* key) { Raw(key, "null"); }
  void Bool(const char* key, bool value) { Raw(key, value ? "true" : "false"); }
  void Int(const char* key, int64_t value);
  void Number(const char* key, double value);  // null where it is not finite
  void String(const char* key, const std::string& value);

  void MaybeInt(const char* key, std::optional<int64_t> value);
  void MaybeBool(const char* key, std::optional<bool> value);
  void MaybeString(const char* key, const std::optional<std::string>& value);

  void Ints(const char* key, const std::vector<int64_t>& values);
  void Strings(const char* key, const std::vector<std::string>& values);
  void IntMap(const char* key, const std::map<std::string, int64_t>& values);

  const std::string& text() const { return text_; }

 private:
  template <typename Body>
  void Scope(const char* key, char open, char close, Body body) {
    Raw(key, std::string(1, open));
    first_ = true;
    body();
    text_ += close;
    first_ = false;
  }
  void Raw(const char* key, const std::string& value);

  std::string text_;
  bool first_ = true;
};

// A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string Quote(const std::string& text);

}  // namespace edgekit
