#include "options.h"

#include <cstdlib>
#include <functional>
#include <map>

#include "failure.h"
#include "text.h"

namespace edgekit {

const char kHelp[] =
    R"(Usage: edgekit-bench MODEL.tflite [OPTIONS]

Measures how long a TFLite model takes on this machine. One JSON document (schema
edgekit.bench/1) goes to stdout, everything else to stderr.

What runs it
  --runtime auto|PATH     libLiteRt.so, libtensorflowlite_c.so or libtensorflowlite_jni.so, or a
                          folder with one. auto looks beside this program, where the system looks
                          for libraries, and in Python's site-packages.
  --delegate D            xnnpack (default), none (builtin kernels), gpu, nnapi, edgetpu, or
                          external:PATH[,KEY=VALUE...]
  --require-full-delegation
                          fail unless the delegate takes every node
  --threads N             CPU threads (default 1)
  --affinity A            all, big, little, or a list of cores: 0,2-3

How long (durations: 500us, 300ms, 1s, 10m)
  --min-time T            measure at least so long (default 1s) ...
  --min-runs N            ... and so often (default 20), ...
  --max-time T            ... but no longer than this (default 30s)
  --warmup T              run so long before measuring (default 300ms)
  --interval T            start a run only so often (default: one after the other)
  --sustain T             measure for this time, whatever the three limits say
  --profile               also time every op, in runs of their own, where the runtime can

What goes in and comes out
  --input I               random[:SEED] (default random:0), zeros, or file:PATH
  --golden PATH           compare the output with the raw bytes of this file
  --dump-output PATH      write the output as raw bytes

  --context               print only what is known of the machine
  --emulated              mark the result as one of an emulator
  --quiet                 nothing on stderr but errors
  --version, --help

Exit codes: 0 done; 1 not fully delegated, or not the golden output; 2 usage; 3 a model or data
file that can't be read; 4 a runtime or device that failed; 5 something is missing;
130 interrupted (the document holds what was measured until then).
)";

namespace {

constexpr int kMostThreads = 1024;

Failure BadValue(const std::string& option, const std::string& value, const std::string& wanted) {
  return Failure(kUsage, option + " " + value + ": " + wanted, "See edgekit-bench --help.");
}

int64_t ParseCount(const std::string& option, const std::string& text, int64_t most) {
  const std::optional<uint64_t> value = ParseUnsigned(text);
  if (!value || *value < 1 || *value > static_cast<uint64_t>(most)) {
    throw BadValue(option, text,
                   Format("not a number from 1 to %lld", static_cast<long long>(most)));
  }
  return static_cast<int64_t>(*value);
}

DelegateRequest ParseDelegate(const std::string& text) {
  DelegateRequest delegate;
  delegate.text = text;
  for (const char* kind : {"xnnpack", "none", "gpu", "nnapi", "edgetpu"}) {
    if (text == kind) {
      delegate.kind = kind;
      return delegate;
    }
  }
  const std::string prefix = "external:";
  if (!StartsWith(text, prefix)) {
    throw BadValue("--delegate", text,
                   "not one of xnnpack, none, gpu, nnapi, edgetpu, external:PATH[,KEY=VALUE...]");
  }
  delegate.kind = "external";
  const std::vector<std::string> parts = Split(text.substr(prefix.size()), ',');
  delegate.path = parts[0];
  if (delegate.path.empty()) {
    throw BadValue("--delegate", text, "the path of the library is missing");
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    if (equals == std::string::npos || equals == 0) {
      throw BadValue("--delegate", text, "\"" + parts[i] + "\" is not KEY=VALUE");
    }
    delegate.settings.emplace_back(parts[i].substr(0, equals), parts[i].substr(equals + 1));
  }
  return delegate;
}

InputSource ParseInput(const std::string& text) {
  InputSource input;
  if (text == "zeros") {
    input.kind = InputSource::kZeros;
    return input;
  }
  if (text == "random") return input;
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (kind == "random") {
    const std::optional<uint64_t> seed = ParseUnsigned(value);
    if (!seed || *seed > INT64_MAX) throw BadValue("--input", text, "the seed is not a number");
    input.seed = *seed;
    return input;
  }
  if (kind == "file" && !value.empty()) {
    input.kind = InputSource::kFile;
    input.path = value;
    return input;
  }
  throw BadValue("--input", text, "not one of zeros, random[:SEED], file:PATH");
}

using Setter = std::function<void(const std::string&)>;

std::map<std::string, Setter> ValueOptions(Options* o) {
  const auto text = [](std::string* into) {
    return [into](const std::string& value) { *into = value; };
  };
  const auto duration = [](const char* name, int64_t* into) {
    return [name, into](const std::string& value) { *into = ParseDuration(name, value); };
  };
  return {
      {"--runtime", text(&o->runtime)},
      {"--golden", text(&o->golden)},
      {"--dump-output", text(&o->dump_output)},
      {"--delegate", [o](const std::string& v) { o->delegate = ParseDelegate(v); }},
      {"--affinity", [o](const std::string& v) { o->affinity = v; }},
      {"--threads",
       [o](const std::string& v) { o->threads = ParseCount("--threads", v, kMostThreads); }},
      {"--min-runs",
       [o](const std::string& v) { o->min_runs = ParseCount("--min-runs", v, 1'000'000'000); }},
      {"--min-time", duration("--min-time", &o->min_time_ns)},
      {"--max-time", duration("--max-time", &o->max_time_ns)},
      {"--warmup", duration("--warmup", &o->warmup_ns)},
      {"--interval", duration("--interval", &o->interval_ns)},
      {"--sustain", duration("--sustain", &o->sustain_ns)},
      {"--input",
       [o](const std::string& v) {
         o->input = ParseInput(v);
         o->input_text = v == "random" ? "random:0" : v;
       }},
  };
}

std::map<std::string, std::function<void()>> Flags(Options* o) {
  return {
      {"--require-full-delegation", [o] { o->require_full_delegation = true; }},
      {"--profile", [o] { o->profile = true; }},
      {"--emulated", [o] { o->emulated = true; }},
      {"--quiet", [o] { o->quiet = true; }},
      {"--context", [o] { o->action = Options::kContext; }},
      {"--version", [o] { o->action = Options::kVersion; }},
      {"--help", [o] { o->action = Options::kHelp; }},
      {"-h", [o] { o->action = Options::kHelp; }},
  };
}

void CheckTogether(const Options& options) {
  if (options.model.empty()) {
    throw Failure(kUsage, "no model given", "Use: edgekit-bench MODEL.tflite; see --help.");
  }
  if (options.max_time_ns == 0) {
    throw BadValue("--max-time", "0", "must be longer than nothing");
  }
  if (options.min_time_ns > options.max_time_ns && options.sustain_ns == 0) {
    throw Failure(kUsage, "--min-time is longer than --max-time",
                  Format("Give --max-time of at least %lld ms too.",
                         static_cast<long long>(options.min_time_ns / 1'000'000)));
  }
  if (options.require_full_delegation && options.delegate.kind == "none") {
    throw Failure(kUsage, "--require-full-delegation contradicts --delegate none");
  }
}

}  // namespace

int64_t ParseDuration(const std::string& option, const std::string& text) {
  static const std::map<std::string, double> kUnits = {
      {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}};
  const size_t unit = text.find_first_not_of("0123456789.");
  const std::string number = text.substr(0, unit);
  const auto found = kUnits.find(unit == std::string::npos ? "" : text.substr(unit));
  char* end = nullptr;
  const double value = strtod(number.c_str(), &end);
  if (text == "0") return 0;
  if (number.empty() || *end != '\0' || found == kUnits.end() || value * found->second > 9e18) {
    throw BadValue(option, text, "not a duration such as 500us, 300ms, 1.5s or 10m");
  }
  return static_cast<int64_t>(value * found->second);
}

Options ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  const std::map<std::string, Setter> with_value = ValueOptions(&options);
  const std::map<std::string, std::function<void()>> flags = Flags(&options);
  bool only_names = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (only_names || argument.empty() || argument[0] != '-') {
      if (!options.model.empty()) {
        throw Failure(kUsage, "two models given: " + options.model + " and " + argument,
                      "Measure one after the other.");
      }
      options.model = argument;
      continue;
    }
    if (argument == "--") {
      only_names = true;
      continue;
    }
    if (const auto flag = flags.find(argument); flag != flags.end()) {
      flag->second();
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const auto option = with_value.find(name);
    if (option == with_value.end()) {
      throw Failure(kUsage, "unknown option " + argument, "See edgekit-bench --help.");
    }
    if (equals == std::string::npos && i + 1 == arguments.size()) {
      throw Failure(kUsage, name + " needs a value", "See edgekit-bench --help.");
    }
    option->second(equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1));
  }
  if (options.action == Options::kRun) CheckTogether(options);
  return options;
}

}  // namespace edgekit
