#include "report.h"

#include <algorithm>

#include "json.h"
#include "text.h"

#ifndef EDGEKIT_VERSION
#error "EDGEKIT_VERSION is set by the build, from edgekit/version.py"
#endif

namespace edgekit {
namespace {

constexpr char kSchema[] = "edgekit.bench/1";

void AddTool(Json* json) {
  json->Object("tool", [&] {
    json->String("name", "edgekit-bench");
    json->String("version", EDGEKIT_VERSION);
    json->String("target", Target());
  });
}

void AddFailure(const std::optional<Failure>& failure, Json* json) {
  if (!failure) return json->Null("error");
  json->Object("error", [&] {
    json->String("message", failure->message);
    failure->hint.empty() ? json->Null("hint") : json->String("hint", failure->hint);
    json->Int("exit_code", failure->exit_code);
  });
}

void AddTensors(const char* key, const std::vector<Tensor>& tensors, Json* json) {
  json->Array(key, [&] {
    for (const Tensor& tensor : tensors) {
      json->Object(nullptr, [&] {
        json->String("name", tensor.name);
        json->String("dtype", tensor.type.name);
        json->Ints("shape", {tensor.shape.begin(), tensor.shape.end()});
        json->Int("bytes", static_cast<int64_t>(tensor.bytes));
      });
    }
  });
}

void AddModel(const std::string& path, const ModelReport& report, Json* json) {
  json->Object("model", [&] {
    json->String("path", path);
    json->String("sha256", report.sha256);
    json->Int("bytes", report.bytes);
    json->Int("operators", report.model.operators);
    json->Strings("custom_ops", report.model.custom_ops);
    AddTensors("inputs", report.model.inputs, json);
    AddTensors("outputs", report.model.outputs, json);
  });
}

void AddRequest(const Options& options, Json* json) {
  json->Object("request", [&] {
    json->Int("threads", options.threads);
    json->String("delegate", options.delegate.text);
    json->MaybeString("affinity", options.affinity);
    json->Int("min_time_ns", options.min_time_ns);
    json->Int("min_runs", options.min_runs);
    json->Int("max_time_ns", options.max_time_ns);
    json->Int("warmup_ns", options.warmup_ns);
    json->Int("interval_ns", options.interval_ns);
    json->Int("sustain_ns", options.sustain_ns);
    json->Bool("profile", options.profile);
    json->Bool("require_full_delegation", options.require_full_delegation);
    json->String("input", options.input_text);
  });
}

void AddEngaged(const Report& report, Json* json) {
  const EngagedReport& engaged = *report.engaged;
  const std::optional<int64_t>& delegated = engaged.engaged.nodes_delegated;
  const int64_t total = report.model->model.operators;
  std::optional<bool> fully;
  if (delegated) {
    fully = engaged.engaged.delegate == report.options->delegate.kind && *delegated == total &&
            engaged.engaged.delegate != "none";
  }
  json->Object("engaged", [&] {
    json->String("delegate", engaged.engaged.delegate);
    json->Int("nodes_total", total);
    json->MaybeInt("nodes_delegated", delegated);
    json->MaybeInt("partitions", engaged.engaged.partitions);
    json->MaybeBool("fully_delegated", fully);
    json->MaybeInt("threads", engaged.threads);
    if (!engaged.affinity) return json->Null("affinity");
    json->Ints("affinity", {engaged.affinity->begin(), engaged.affinity->end()});
  });
}

void AddProfile(const std::vector<OpTime>& ops, Json* json) {
  json->Array("profile", [&] {
    for (const OpTime& op : ops) {
      json->Object(nullptr, [&] {
        json->MaybeInt("index", op.index);
        json->String("op", op.op);
        json->Int("calls", op.calls);
        json->Int("total_ns", op.total_ns);
      });
    }
  });
}

void AddInput(const Options& options, const std::string& sha256, Json* json) {
  static const char* const kKinds[] = {"zeros", "random", "file"};
  json->Object("input", [&] {
    json->String("kind", kKinds[options.input.kind]);
    const bool random = options.input.kind == InputSource::kRandom;
    random ? json->Int("seed", static_cast<int64_t>(options.input.seed)) : json->Null("seed");
    json->String("sha256", sha256);
  });
}

void AddOutput(const OutputReport& output, Json* json) {
  json->Object("output", [&] {
    json->String("sha256", output.sha256);
    json->Bool("repeatable", output.repeatable);
    if (!output.golden) return json->Null("golden");
    json->Object("golden", [&] {
      json->Bool("equal", output.golden->equal);
      json->Int("differing_bytes", output.golden->differing_bytes);
      json->Number("max_abs_difference", output.golden->max_abs_difference);
    });
  });
}

void AddState(const char* key, const State& state, Json* json) {
  json->Object(key, [&] {
    json->Object("governors", [&] {
      for (const auto& [core, name] : state.governors) json->String(core.c_str(), name);
    });
    json->IntMap("frequencies_khz", state.frequencies_khz);
    json->IntMap("max_frequencies_khz", state.max_frequencies_khz);
    json->IntMap("temperatures_mc", state.temperatures_mc);
    json->MaybeInt("throttled", state.throttled);
    json->Number("load_1m", state.load_1m);
    json->Int("available_bytes", state.available_bytes);
  });
}

void AddMachine(const Machine& machine, Json* json) {
  json->MaybeString("machine", machine.name);
  json->String("architecture", machine.architecture);
  json->String("cpu", machine.cpu);
  json->Int("cores", machine.cores);
  json->Strings("features", machine.features);
  json->String("kernel", machine.kernel);
  json->String("libc", machine.libc);
  json->MaybeString("os", machine.os);
  json->MaybeString("emulated", machine.emulated);
}

void AddContext(const Report& report, Json* json) {
  json->Object("context", [&] {
    AddMachine(*report.machine, json);
    if (report.before) AddState("before", *report.before, json);
    if (report.after) AddState("after", *report.after, json);
    json->Int("peak_rss_bytes", PeakRssBytes());
  });
}

void AddTimeline(const std::vector<TimelinePoint>& timeline, Json* json) {
  json->Array("timeline", [&] {
    for (const TimelinePoint& point : timeline) {
      json->Object(nullptr, [&] {
        json->Int("t_ns", point.t_ns);
        json->IntMap("frequencies_khz", point.state.frequencies_khz);
        json->IntMap("temperatures_mc", point.state.temperatures_mc);
        json->MaybeInt("throttled", point.state.throttled);
      });
    }
  });
}

// The value with that share of the sorted ones below it, between neighbours where it falls there.
double Percentile(const std::vector<int64_t>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return static_cast<double>(sorted[low]) +
         (at - static_cast<double>(low)) * static_cast<double>(sorted[high] - sorted[low]);
}

// In the unit that suits it.
std::string Span(double ns) {
  return ns < 1e6 ? Format("%.2f us", ns / 1e3) : Format("%.3f ms", ns / 1e6);
}

}  // namespace

std::string Target() {
#if defined(__x86_64__)
  const std::string architecture = "x86_64";
#elif defined(__aarch64__)
  const std::string architecture = "aarch64";
#elif defined(__arm__)
  const std::string architecture = "armv7l";
#else
  const std::string architecture = "unknown";
#endif
#if defined(__ANDROID__)
  return architecture + "-linux-android";
#elif defined(__arm__)
  return architecture + "-linux-gnueabihf";
#else
  return architecture + "-linux-gnu";
#endif
}

std::string ToJson(const Report& report) {
  Json json;
  json.Object(nullptr, [&] {
    json.String("schema", kSchema);
    AddTool(&json);
    json.String("status", report.status);
    AddFailure(report.failure, &json);
    json.Int("started_unix_ns", report.started_unix_ns);
    if (report.model) AddModel(report.options->model, *report.model, &json);
    if (report.runtime) {
      json.Object("runtime", [&] {
        json.String("kind", report.runtime->kind);
        json.String("path", report.runtime->path);
        json.MaybeString("version", report.runtime->version);
      });
    }
    if (report.options) AddRequest(*report.options, &json);
    if (report.engaged) AddEngaged(report, &json);
    if (report.load_ns) json.Int("load_ns", *report.load_ns);
    const Samples& samples = report.samples;
    if (samples.first_ns > 0) {
      json.Int("first_ns", samples.first_ns);
      json.Ints("warmup_ns", samples.warmup_ns);
      json.Ints("samples_ns", samples.samples_ns);
      json.Ints("starts_ns", samples.starts_ns);
      report.profile ? AddProfile(*report.profile, &json) : json.Null("profile");
      AddTimeline(samples.timeline, &json);
    }
    if (report.input_sha256) AddInput(*report.options, *report.input_sha256, &json);
    if (report.output) AddOutput(*report.output, &json);
    if (report.machine) AddContext(report, &json);
    json.Strings("warnings", report.warnings);
  });
  return json.text() + "\n";
}

std::string ContextToJson(const Machine& machine, const State& state) {
  Report report;
  report.machine = machine;
  report.before = state;
  report.after = state;
  Json json;
  json.Object(nullptr, [&] {
    json.String("schema", kSchema);
    AddTool(&json);
    AddContext(report, &json);
  });
  return json.text() + "\n";
}

std::string Summary(const Report& report) {
  std::string text;
  if (!report.samples.samples_ns.empty()) {
    std::vector<int64_t> sorted = report.samples.samples_ns;
    std::sort(sorted.begin(), sorted.end());
    text += "p50 " + Span(Percentile(sorted, 0.5)) + "   p90 " + Span(Percentile(sorted, 0.9)) +
            "   min " + Span(static_cast<double>(sorted[0])) +
            Format("   %zu runs\n", sorted.size());
  }
  if (report.load_ns && report.samples.first_ns > 0) {
    text += "load " + Span(static_cast<double>(*report.load_ns)) + "   first " +
            Span(static_cast<double>(report.samples.first_ns)) + "\n";
  }
  if (report.engaged && report.runtime) {
    const Engaged& engaged = report.engaged->engaged;
    text += engaged.delegate;
    if (engaged.nodes_delegated && engaged.delegate != "none") {
      text += Format(": %lld of %lld nodes in %lld part(s)",
                     static_cast<long long>(*engaged.nodes_delegated),
                     static_cast<long long>(report.model->model.operators),
                     static_cast<long long>(*engaged.partitions));
    }
    if (report.engaged->threads) {
      text += Format(", %lld thread(s)", static_cast<long long>(*report.engaged->threads));
    }
    text += "   " + report.runtime->kind + " " + report.runtime->version.value_or("?") + "\n";
  }
  for (const std::string& notice : report.notices) text += "warning: " + notice + "\n";
  for (const std::string& warning : report.warnings) text += "warning: " + warning + "\n";
  return text;
}

}  // namespace edgekit
