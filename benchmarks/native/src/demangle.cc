// Takes the place of the C++ runtime's demangler, which it would use to print the type of an
// uncaught exception, and which makes up a third of the program (120 KB of 350).
#include <cstddef>

extern "C" char* __cxa_demangle(const char*, char*, size_t*, int* status) {
  constexpr int kNotAName = -2;
  if (status != nullptr) *status = kNotAName;
  return nullptr;
}
