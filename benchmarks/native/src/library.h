// Shared libraries that are opened while the program runs.
#pragma once

#include <string>
#include <vector>

namespace edgekit {

// Never closed again: some runtimes and drivers crash at that, and the process ends soon after.
class Library {
 public:
  Library() = default;
  // A path, or a bare name that the system's own search resolves.
  explicit Library(const std::string& path);

  bool ok() const { return handle_ != nullptr; }
  const std::string& error() const { return error_; }  // why it could not be opened
  std::string PathOf(const char* symbol) const;        // the file that defines the symbol

  // Null where the symbol is missing.
  template <typename Function>
  void Find(const char* symbol, Function* function) const {
    *function = reinterpret_cast<Function>(Address(symbol));
  }

 private:
  void* Address(const char* symbol) const;

  void* handle_ = nullptr;
  std::string error_;
};

// Resolves many symbols and names all that are missing at once.
class Resolver {
 public:
  explicit Resolver(const Library& library) : library_(library) {}

  template <typename Function>
  void Need(const char* symbol, Function* function) {
    library_.Find(symbol, function);
    if (*function == nullptr) missing_.push_back(symbol);
  }

  const std::vector<std::string>& missing() const { return missing_; }

 private:
  const Library& library_;
  std::vector<std::string> missing_;
};

}  // namespace edgekit
