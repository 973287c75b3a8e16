// The command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "input.h"

namespace edgekit {

// A delegate as it was asked for; `external` and `edgetpu` are plug-ins.
struct DelegateRequest {
  std::string text = "xnnpack";  // as it was written
  std::string kind = "xnnpack";  // xnnpack, none, gpu, nnapi, edgetpu or external
  std::string path;              // of a plug-in; empty for edgetpu: its usual places
  std::vector<std::pair<std::string, std::string>> settings;  // handed to the plug-in

  bool IsPlugin() const { return kind == "external" || kind == "edgetpu"; }
};

struct Options {
  std::string model;
  std::string runtime = "auto";
  DelegateRequest delegate;
  bool require_full_delegation = false;
  int threads = 1;
  std::optional<std::string> affinity;  // all, big, little or a list such as 0,2-3
  int64_t min_time_ns = 1'000'000'000;
  int64_t min_runs = 20;
  int64_t max_time_ns = 30'000'000'000;
  int64_t warmup_ns = 300'000'000;
  int64_t interval_ns = 0;
  int64_t sustain_ns = 0;
  bool profile = false;
  std::string input_text = "random:0";
  InputSource input;
  std::string golden;
  std::string dump_output;
  bool emulated = false;
  bool quiet = false;

  enum Action { kRun, kHelp, kVersion, kContext } action = kRun;
};

extern const char kHelp[];

// Throws Failure(kUsage).
Options ParseOptions(const std::vector<std::string>& arguments);

// "300ms" and such, in nanoseconds. Throws Failure(kUsage).
int64_t ParseDuration(const std::string& option, const std::string& text);

}  // namespace edgekit
