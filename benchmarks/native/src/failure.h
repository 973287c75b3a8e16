// What went wrong, what to do about it, and the exit code that says so (see main.cc).
#pragma once

#include <string>
#include <utility>

namespace edgekit {

enum ExitCode : int {
  kDone = 0,
  kNotMet = 1,         // a valid "no": not fully delegated, or not the golden output
  kUsage = 2,          // an option that doesn't fit, or contradicts the model
  kUnreadable = 3,     // a model or data file that can't be read
  kRuntimeFailed = 4,  // a runtime, a delegate or the device failed
  kMissing = 5,        // a runtime, a delegate or a library is missing
  kInterrupted = 130,
};

// Thrown by value. The message says what and where, the hint what to do next (may be empty).
struct Failure {
  Failure(ExitCode code, std::string what, std::string next = "")
      : exit_code(code), message(std::move(what)), hint(std::move(next)) {}

  ExitCode exit_code;
  std::string message;
  std::string hint;
};

}  // namespace edgekit
