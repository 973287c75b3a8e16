#include "library.h"

#include <dlfcn.h>
#include <stdlib.h>

namespace edgekit {

Library::Library(const std::string& path) : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) {
    const char* error = dlerror();
    error_ = error != nullptr ? error : "unknown error";
  }
}

void* Library::Address(const char* symbol) const {
  return handle_ != nullptr ? dlsym(handle_, symbol) : nullptr;
}

std::string Library::PathOf(const char* symbol) const {
  Dl_info info{};
  void* address = Address(symbol);
  if (address == nullptr || dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "";
  char* resolved = realpath(info.dli_fname, nullptr);
  const std::string path = resolved != nullptr ? resolved : info.dli_fname;
  free(resolved);
  return path;
}

}  // namespace edgekit
