// edgekit-bench: measures how long a TFLite model takes on this machine. See options.cc for the
// command line and report.cc for the document.
//
// stdout gets the document and nothing else: libraries that print there are sent to stderr.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>

#include "clock.h"
#include "cpus.h"
#include "failure.h"
#include "report.h"
#include "sha256.h"
#include "stop.h"
#include "text.h"

namespace edgekit {
namespace {

constexpr int64_t kHotMilliCelsius = 70'000;
constexpr int64_t kProfiledRuns = 20;
constexpr char kEdgeTpuOp[] = "edgetpu-custom-op";

// Keeps stdout for the document: what anything else prints there goes to stderr from now on.
int TakeStdout() {
  fflush(stdout);
  const int document = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return document >= 0 ? document : STDERR_FILENO;
}

bool WriteAll(int file, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = write(file, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    done += count;
  }
  return true;
}

int64_t UnixNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Mapped, not read: the runtime maps the same pages again, so that nothing is held twice.
ModelReport ReadModelFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (file < 0 || fstat(file, &status) != 0) {
    const int error = errno;
    if (file >= 0) close(file);
    throw Failure(kUnreadable, path + ": can't be read (" + strerror(error) + ")",
                  "Check the path of the model.");
  }
  const auto size = static_cast<size_t>(status.st_size);
  void* data = S_ISREG(status.st_mode) && size > 0
                   ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0)
                   : MAP_FAILED;
  close(file);
  if (data == MAP_FAILED) {
    throw Failure(kUnreadable, path + (size == 0 ? ": is empty" : ": is not a file"));
  }
  struct Unmap {
    void* data;
    size_t size;
    ~Unmap() { munmap(data, size); }
  } unmap{data, size};

  ModelReport report;
  report.model = ReadModel(static_cast<const uint8_t*>(data), size, path);
  report.bytes = static_cast<int64_t>(size);
  Sha256 hash;
  hash.Update(data, size);
  report.sha256 = hash.Hex();
  return report;
}

// A model that a compiler has made for one accelerator runs nowhere else.
void CheckCustomOps(const Model& model, const Options& options) {
  const auto& ops = model.custom_ops;
  const bool compiled = std::find(ops.begin(), ops.end(), kEdgeTpuOp) != ops.end();
  if (compiled && !options.delegate.IsPlugin()) {
    throw Failure(kMissing,
                  options.model + ": was compiled for the Edge TPU (it holds the custom op " +
                      kEdgeTpuOp + ") and runs only there",
                  "Use --delegate edgetpu on a machine with an Edge TPU, or measure the model from "
                  "which it was compiled.");
  }
}

void WarnAboutModel(const Model& model, std::vector<std::string>* warnings) {
  for (const Tensor& tensor : model.inputs) {
    if (tensor.open_shape) {
      warnings->push_back(Format("input \"%s\" leaves a dimension open (-1); it was set to 1",
                                 tensor.name.c_str()));
    }
  }
}

void NoteState(const Machine& machine, const State& state, std::vector<std::string>* notices) {
  for (const auto& [core, governor] : state.governors) {
    if (governor == "performance") continue;
    notices->push_back("the governor of core " + core + " is \"" + governor +
                       "\", not performance: the frequency may change while measuring");
    break;
  }
  if (machine.cores > 0 && state.load_1m / machine.cores > 0.5) {
    notices->push_back(Format("the machine was busy before the run: load %.2f on %d core(s)",
                              state.load_1m, machine.cores));
  }
  for (const auto& [sensor, temperature] : state.temperatures_mc) {
    if (temperature < kHotMilliCelsius) continue;
    notices->push_back(Format("hot before the run: %s at %.1f °C", sensor.c_str(),
                              static_cast<double>(temperature) / 1000));
    break;
  }
  if (state.throttled.value_or(0) != 0) {
    notices->push_back(Format("the board reports low voltage or throttling before the run: 0x%llx",
                              static_cast<long long>(*state.throttled)));
  }
  if (machine.emulated) {
    notices->push_back("emulated (" + *machine.emulated +
                       "): the times say nothing about a real device");
  }
}

void CheckDelegation(const Options& options, int64_t operators, const Engaged& engaged) {
  if (!options.require_full_delegation) return;
  const bool known = engaged.nodes_delegated.has_value();
  const int64_t by_wanted = known && engaged.delegate == options.delegate.kind
                                ? *engaged.nodes_delegated
                                : 0;
  if (by_wanted == operators) return;
  throw Failure(kNotMet,
                known ? Format("not fully delegated: %s took %lld of %lld nodes",
                               options.delegate.kind.c_str(), static_cast<long long>(by_wanted),
                               static_cast<long long>(operators))
                      : "this runtime doesn't show what a delegate took, so that full delegation "
                        "can't be confirmed",
                "`edgekit inspect` shows where each op can run.");
}

// The golden file, read before the run: a wrong one should not cost minutes.
Bytes ReadGolden(const Options& options, const Model& model) {
  Bytes golden = ReadFile(options.golden);
  size_t wanted = 0;
  for (const Tensor& tensor : model.outputs) wanted += tensor.bytes;
  if (golden.size() != wanted) {
    throw Failure(kUsage, Format("%s: %zu bytes, but the model gives %zu", options.golden.c_str(),
                                 golden.size(), wanted),
                  "The file holds the raw bytes of all outputs, as --dump-output writes them.");
  }
  return golden;
}

std::vector<Bytes> Outputs(const Model& model, Runtime* runtime) {
  std::vector<Bytes> outputs;
  for (size_t i = 0; i < model.outputs.size(); ++i) outputs.push_back(runtime->Output(i));
  return outputs;
}

void Dump(const std::string& path, const std::vector<Bytes>& outputs) {
  Bytes all;
  for (const Bytes& output : outputs) all.insert(all.end(), output.begin(), output.end());
  WriteFile(path, all);
}

void CheckOutput(const Options& options, const OutputReport& output, Report* report) {
  if (!output.repeatable) {
    report->notices.push_back("the outputs after the first and after the last run differ");
  }
  if (output.golden && !output.golden->equal) {
    report->failure =
        Failure(kNotMet, Format("the output differs from %s in %lld byte(s), by %g at most",
                                options.golden.c_str(),
                                static_cast<long long>(output.golden->differing_bytes),
                                output.golden->max_abs_difference),
                "Either the golden output is of another model or input, or this runtime computes "
                "something else.");
  }
}

// How many threads run the model: this one and those that came since `before`, but no more than
// were asked for, as builtin kernels keep several pools of which one works at a time. A driver's
// own threads can't be told apart, so that only the CPU's kernels are counted.
std::optional<int64_t> ThreadsOf(const Options& options, const Engaged& engaged, int before) {
  const bool on_cpu = engaged.delegate == "xnnpack" || engaged.delegate == "none";
  if (!on_cpu || before == 0) return std::nullopt;
  return std::min(options.threads, 1 + CountThreads() - before);
}

// The stages of a run. Each adds to the report, so that an error keeps what came before it.

struct Prepared {
  std::vector<Bytes> inputs;
  Bytes golden;
  std::optional<std::vector<int>> affinity;
};

Prepared Prepare(const Options& options, Report* report) {
  SetPhase("reading the model");
  report->machine = DescribeMachine(options.emulated);
  report->model = ReadModelFile(options.model);
  const Model& model = report->model->model;
  CheckCustomOps(model, options);
  WarnAboutModel(model, &report->warnings);
  Prepared prepared;
  prepared.inputs = MakeInputs(options.input, model);
  report->input_sha256 = HashOf(prepared.inputs);
  if (!options.golden.empty()) prepared.golden = ReadGolden(options, model);
  if (options.affinity) prepared.affinity = BindTo(*options.affinity);
  return prepared;
}

std::unique_ptr<Runtime> Open(const Options& options, Report* report) {
  SetPhase("opening the runtime");
  std::unique_ptr<Runtime> runtime = OpenRuntime(options.runtime);
  report->runtime = RuntimeReport{runtime->Kind(), runtime->Path(), runtime->Version()};
  if (options.delegate.kind == "nnapi") {
    report->warnings.push_back("NNAPI is deprecated since Android 15");
  }
  report->before = ReadState(*report->machine, true);
  NoteState(*report->machine, *report->before, &report->notices);
  return runtime;
}

void Load(const Options& options, const Prepared& prepared, Runtime* runtime, Report* report) {
  SetPhase("loading the model");
  const Model& model = report->model->model;
  const int64_t start = NowNs();
  runtime->Load(model, options);
  report->load_ns = NowNs() - start;
  const Engaged engaged = runtime->Delegation();
  report->engaged = EngagedReport{engaged, std::nullopt, prepared.affinity};
  report->warnings.insert(report->warnings.end(), engaged.remarks.begin(), engaged.remarks.end());
  CheckDelegation(options, model.operators, engaged);
  for (size_t i = 0; i < prepared.inputs.size(); ++i) runtime->SetInput(i, prepared.inputs[i]);
}

// The hash of the outputs of the first inference.
std::string RunTheFirst(const Options& options, int threads_before, Runtime* runtime,
                        Report* report) {
  SetPhase("running the model");
  RunFirst(runtime, &report->samples);
  const auto threads = ThreadsOf(options, report->engaged->engaged, threads_before);
  report->engaged->threads = threads;
  if (threads && *threads != options.threads) {
    report->warnings.push_back(Format("%d thread(s) were asked for, %lld ran", options.threads,
                                      static_cast<long long>(*threads)));
  }
  return HashOf(Outputs(report->model->model, runtime));
}

void RunTheRest(const Options& options, Runtime* runtime, Report* report) {
  RunMany(options, *report->machine, runtime, &report->samples);
  report->after = ReadState(*report->machine, true);
  if (report->samples.samples_ns.size() == kMostSamples) {
    report->warnings.push_back(
        Format("stopped at %zu samples, the most that are kept", kMostSamples));
  }
}

void LookAtOutputs(const Options& options, const Bytes& golden, const std::string& first_hash,
                   Runtime* runtime, Report* report) {
  const Model& model = report->model->model;
  const std::vector<Bytes> outputs = Outputs(model, runtime);
  OutputReport output;
  output.sha256 = HashOf(outputs);
  output.repeatable = output.sha256 == first_hash;
  if (!options.golden.empty()) output.golden = CompareWithGolden(golden, model, outputs);
  report->output = output;
  if (!options.dump_output.empty()) Dump(options.dump_output, outputs);
  CheckOutput(options, output, report);
}

void Profile(const std::vector<Bytes>& inputs, Runtime* runtime, Report* report) {
  SetPhase("profiling the model");
  report->profile = runtime->Profile(inputs, kProfiledRuns);
  if (!report->profile) report->warnings.push_back("this runtime offers no profile of ops");
}

// `opened` is left open: closing a runtime may crash, and comes after the document.
void Benchmark(const Options& options, Report* report, std::unique_ptr<Runtime>* opened) {
  const Prepared prepared = Prepare(options, report);
  *opened = Open(options, report);
  Runtime* runtime = opened->get();
  if (StopRequested()) return;
  const int threads_before = CountThreads();
  Load(options, prepared, runtime, report);
  if (StopRequested()) return;
  const std::string first_hash = RunTheFirst(options, threads_before, runtime, report);
  RunTheRest(options, runtime, report);
  LookAtOutputs(options, prepared.golden, first_hash, runtime, report);
  if (options.profile && !StopRequested()) Profile(prepared.inputs, runtime, report);
}

int Finish(int document, const Report& report, bool quiet) {
  const ExitCode exit_code = report.status == "interrupted" ? kInterrupted
                             : report.failure               ? report.failure->exit_code
                                                            : kDone;
  if (!quiet) fputs(Summary(report).c_str(), stderr);
  if (report.failure) {
    fprintf(stderr, "error: %s\n", report.failure->message.c_str());
    if (!report.failure->hint.empty()) fprintf(stderr, "hint: %s\n", report.failure->hint.c_str());
  }
  fflush(stderr);
  if (!WriteAll(document, ToJson(report))) {
    fprintf(stderr, "error: the document could not be written (%s)\n", strerror(errno));
    return kRuntimeFailed;
  }
  return exit_code;
}

int Run(int document, const std::vector<std::string>& arguments) {
  Report report;
  report.started_unix_ns = UnixNs();
  std::unique_ptr<Runtime> runtime;
  bool quiet = false;
  try {
    const Options options = ParseOptions(arguments);
    quiet = options.quiet;
    switch (options.action) {
      case Options::kHelp:
        return WriteAll(document, kHelp) ? kDone : kRuntimeFailed;
      case Options::kVersion:
        return WriteAll(document, "edgekit-bench " EDGEKIT_VERSION " (" + Target() + ")\n")
                   ? kDone
                   : kRuntimeFailed;
      case Options::kContext: {
        const Machine machine = DescribeMachine(options.emulated);
        return WriteAll(document, ContextToJson(machine, ReadState(machine, true)))
                   ? kDone
                   : kRuntimeFailed;
      }
      case Options::kRun:
        break;
    }
    report.options = options;
    Benchmark(*report.options, &report, &runtime);
    if (StopRequested()) report.status = "interrupted";
  } catch (const Failure& failure) {
    report.status = "error";
    report.failure = failure;
  } catch (const std::bad_alloc&) {
    report.status = "error";
    report.failure = Failure(kRuntimeFailed, "not enough memory for this model");
  }
  const int exit_code = Finish(document, report, quiet);
  DocumentWritten(exit_code);
  return exit_code;  // the runtime is closed here
}

}  // namespace
}  // namespace edgekit

int main(int count, char** arguments) {
  const int document = edgekit::TakeStdout();
  edgekit::InstallSignalHandlers(document);
  const int code =
      edgekit::Run(document, std::vector<std::string>(arguments + 1, arguments + count));
  fflush(nullptr);  // what libraries printed too
  _exit(code);  // without the runtimes' own last acts, which some crash in
}
