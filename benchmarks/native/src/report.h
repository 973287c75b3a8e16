// The one document: everything that is known at the end, and its JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "context.h"
#include "failure.h"
#include "input.h"
#include "measure.h"
#include "model.h"
#include "options.h"
#include "runtime.h"

namespace edgekit {

struct ModelReport {
  Model model;
  std::string sha256;
  int64_t bytes = 0;
};

struct RuntimeReport {
  std::string kind, path;
  std::optional<std::string> version;
};

struct EngagedReport {
  Engaged engaged;
  std::optional<int64_t> threads;
  std::optional<std::vector<int>> affinity;
};

struct OutputReport {
  std::string sha256;
  bool repeatable = true;
  std::optional<GoldenResult> golden;
};

// Filled while the run goes on; what is missing is left out of the document.
struct Report {
  int64_t started_unix_ns = 0;
  std::string status = "complete";  // complete, interrupted or error
  std::optional<Failure> failure;
  std::optional<Options> options;
  std::optional<ModelReport> model;
  std::optional<RuntimeReport> runtime;
  std::optional<EngagedReport> engaged;
  std::optional<int64_t> load_ns;
  Samples samples;
  std::optional<std::vector<OpTime>> profile;
  std::optional<std::string> input_sha256;
  std::optional<OutputReport> output;
  std::optional<Machine> machine;
  std::optional<State> before, after;
  std::vector<std::string> warnings;
  // Of what the document holds as data, for whoever reads it to judge: only people are told.
  std::vector<std::string> notices;
};

std::string ToJson(const Report& report);
std::string ContextToJson(const Machine& machine, const State& state);

// A few lines for people.
std::string Summary(const Report& report);

// "x86_64-linux-gnu" and such: what this program was built for.
std::string Target();

}  // namespace edgekit
