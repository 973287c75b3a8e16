// LiteRT's C API (libLiteRt.so 2.3 and later), which the ai-edge-litert wheels carry.
//
// No headers come with the wheels, so the prototypes are here; they were written after litert/c of
// google-ai-edge/LiteRT and tried with 2.3.0. The library keeps its symbol names when it changes
// their arguments. What is needed includes LiteRtCreateModelFromFd and
// LiteRtCompiledModelIsNonCpuFullyAccelerated, which came with the arguments used here: an older
// library lacks them and is refused by name instead of being called wrongly.
#include <cstdlib>
#include <cstring>
#include <map>

#include "delegates.h"
#include "failure.h"
#include "runtime.h"
#include "text.h"

namespace edgekit {
namespace {

using Handle = void*;
using Status = int;  // 0 is fine

// litert_common.h, LiteRtHwAccelerators.
constexpr int kCpu = 1, kGpu = 2;

// litert_environment_options.h.
constexpr int kRuntimeLibraryDir = 22, kAutoRegisterAccelerators = 24, kMinLoggerSeverity = 25;
constexpr int kAnyInt = 2, kAnyString = 8;
constexpr int kSeverityError = 3;

struct EnvOption {
  int tag;
  struct {
    int type;
    union {
      int64_t number;
      const char* text;
    };
  } value;
};

// litert_layout.h and litert_model_types.h.
constexpr size_t kMostDimensions = 8;
struct RankedTensorType {
  int element_type;
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[kMostDimensions];
  uint32_t strides[kMostDimensions];
};
static_assert(sizeof(RankedTensorType) == 72);

// litert_accelerator_def.h: how the library's own CPU accelerator is described. The first field is
// 1, or the size and 1 as the version in its upper half.
struct AcceleratorDef {
  uint32_t version;
  void *get_name, *get_version, *get_hardware_support, *is_jit, *create_delegate;
};

// litert_profiler_event.h.
struct ProfilerEvent {
  const char* tag;
  int type;
  uint64_t start_us, elapsed_us;
  int64_t memory_before[3], memory_after[3];
  uint64_t index, metadata;
  int source;
};
constexpr int kOperatorEvents = 2 | 4 | 8;  // of the graph, inside a delegate, and both at once

enum LockMode : int { kRead = 0, kWrite = 1 };

struct Api {
  Status (*CreateEnvironment)(int, const EnvOption*, Handle*);
  void (*DestroyEnvironment)(Handle);
  Status (*CreateModelFromFile)(Handle env, const char*, Handle*);
  void (*DestroyModel)(Handle);
  Status (*CreateOptions)(Handle*);
  void (*DestroyOptions)(Handle);
  Status (*SetAccelerators)(Handle options, int);
  Status (*CreateOpaqueOptions)(const char* name, void* text, void (*)(void*), Handle*);
  Status (*AddOpaqueOptions)(Handle options, Handle opaque);
  Status (*CreateCompiledModel)(Handle env, Handle model, Handle options, Handle*);
  void (*DestroyCompiledModel)(Handle);
  Status (*InputRequirements)(Handle compiled, size_t signature, size_t index, Handle*);
  Status (*OutputRequirements)(Handle compiled, size_t signature, size_t index, Handle*);
  Status (*CreateBuffer)(Handle env, const RankedTensorType*, Handle requirements, Handle*);
  void (*DestroyBuffer)(Handle);
  Status (*BufferSize)(Handle, size_t*);
  Status (*Lock)(Handle, void**, LockMode);
  Status (*Unlock)(Handle);
  Status (*Run)(Handle compiled, size_t signature, size_t, Handle*, size_t, Handle*);
  // Not used; see the top of the file.
  void *CreateModelFromFd, *IsNonCpuFullyAccelerated;

  // Seeing and choosing delegates; without them the rest still works.
  Status (*CreateAccelerator)(Handle*);
  Status (*RegisterAccelerator)(Handle env, Handle accelerator, void*, void (*)(void*));
  Status (*SetGetName)(Handle, void*);
  Status (*SetGetVersion)(Handle, void*);
  Status (*SetGetHardwareSupport)(Handle, void*);
  Status (*SetDelegateFunction)(Handle, void*);
  Status (*SetIsJit)(Handle, void*);
  Status (*WrapDelegate)(TfLiteDelegate*, void (*)(TfLiteDelegate*), Handle*);
  AcceleratorDef** cpu;

  // Profiling.
  Status (*GetProfiler)(Handle compiled, Handle*);
  Status (*StartProfiler)(Handle);
  Status (*StopProfiler)(Handle);
  Status (*ResetProfiler)(Handle);
  Status (*CountEvents)(Handle, int*);
  Status (*GetEvents)(Handle, int, ProfilerEvent*);
};

Api Resolve(const Library& library) {
  Api api = {};
  Resolver needed(library);
  needed.Need("LiteRtCreateEnvironment", &api.CreateEnvironment);
  needed.Need("LiteRtDestroyEnvironment", &api.DestroyEnvironment);
  needed.Need("LiteRtCreateModelFromFile", &api.CreateModelFromFile);
  needed.Need("LiteRtDestroyModel", &api.DestroyModel);
  needed.Need("LiteRtCreateOptions", &api.CreateOptions);
  needed.Need("LiteRtDestroyOptions", &api.DestroyOptions);
  needed.Need("LiteRtSetOptionsHardwareAccelerators", &api.SetAccelerators);
  needed.Need("LiteRtCreateOpaqueOptions", &api.CreateOpaqueOptions);
  needed.Need("LiteRtAddOpaqueOptions", &api.AddOpaqueOptions);
  needed.Need("LiteRtCreateCompiledModel", &api.CreateCompiledModel);
  needed.Need("LiteRtDestroyCompiledModel", &api.DestroyCompiledModel);
  needed.Need("LiteRtGetCompiledModelInputBufferRequirements", &api.InputRequirements);
  needed.Need("LiteRtGetCompiledModelOutputBufferRequirements", &api.OutputRequirements);
  needed.Need("LiteRtCreateManagedTensorBufferFromRequirements", &api.CreateBuffer);
  needed.Need("LiteRtDestroyTensorBuffer", &api.DestroyBuffer);
  needed.Need("LiteRtGetTensorBufferSize", &api.BufferSize);
  needed.Need("LiteRtLockTensorBuffer", &api.Lock);
  needed.Need("LiteRtUnlockTensorBuffer", &api.Unlock);
  needed.Need("LiteRtRunCompiledModel", &api.Run);
  needed.Need("LiteRtCreateModelFromFd", &api.CreateModelFromFd);
  needed.Need("LiteRtCompiledModelIsNonCpuFullyAccelerated", &api.IsNonCpuFullyAccelerated);
  if (!needed.missing().empty()) {
    throw Failure(kMissing,
                  "this LiteRT lacks what is needed: " + Join(needed.missing(), ", "),
                  "Use LiteRT 2.3 or later (pip install -U ai-edge-litert), or a TFLite C "
                  "library.");
  }
  library.Find("LiteRtCreateAccelerator", &api.CreateAccelerator);
  library.Find("LiteRtRegisterAccelerator", &api.RegisterAccelerator);
  library.Find("LiteRtSetAcceleratorGetName", &api.SetGetName);
  library.Find("LiteRtSetAcceleratorGetVersion", &api.SetGetVersion);
  library.Find("LiteRtSetAcceleratorGetHardwareSupport", &api.SetGetHardwareSupport);
  library.Find("LiteRtSetDelegateFunction", &api.SetDelegateFunction);
  library.Find("LiteRtSetIsAcceleratorDelegateResponsibleForJitCompilation", &api.SetIsJit);
  library.Find("LiteRtWrapDelegate", &api.WrapDelegate);
  library.Find("LiteRtStaticLinkedAcceleratorCpuDef", &api.cpu);
  library.Find("LiteRtCompiledModelGetProfiler", &api.GetProfiler);
  library.Find("LiteRtStartProfiler", &api.StartProfiler);
  library.Find("LiteRtStopProfiler", &api.StopProfiler);
  library.Find("LiteRtResetProfiler", &api.ResetProfiler);
  library.Find("LiteRtGetNumProfilerEvents", &api.CountEvents);
  library.Find("LiteRtGetProfilerEvents", &api.GetEvents);
  return api;
}

bool CanChooseDelegates(const Api& api) {
  if (api.CreateAccelerator == nullptr || api.RegisterAccelerator == nullptr ||
      api.SetGetName == nullptr || api.SetGetVersion == nullptr ||
      api.SetGetHardwareSupport == nullptr || api.SetDelegateFunction == nullptr ||
      api.SetIsJit == nullptr || api.WrapDelegate == nullptr || api.cpu == nullptr) {
    return false;
  }
  const AcceleratorDef* cpu = *api.cpu;
  return cpu != nullptr && (cpu->version == 1 || cpu->version >> 16 == 1);
}

bool CanProfile(const Api& api) {
  return api.GetProfiler != nullptr && api.StartProfiler != nullptr &&
         api.StopProfiler != nullptr && api.ResetProfiler != nullptr &&
         api.CountEvents != nullptr && api.GetEvents != nullptr;
}

std::string NameOfStatus(Status status) {
  // LiteRtGetStatusString is not exported; litert_common.h, LiteRtStatus.
  static const std::map<Status, const char*> kNames = {
      {1, "invalid argument"}, {2, "out of memory"},     {3, "runtime failure"},
      {4, "missing input"},    {5, "unsupported"},       {6, "not found"},
      {8, "wrong version"},    {500, "file input"},      {501, "invalid flatbuffer"},
      {502, "dynamic loading"}, {504, "compilation"},
  };
  const auto name = kNames.find(status);
  return Format("status %d%s%s", status, name == kNames.end() ? "" : ", ",
                name == kNames.end() ? "" : name->second);
}

void Check(Status status, const char* what) {
  if (status == 0) return;
  throw Failure(kRuntimeFailed, Format("LiteRT could not %s (%s)", what,
                                       NameOfStatus(status).c_str()),
                "What it printed on stderr may say more.");
}

// Delegates reach LiteRT through "accelerators": a table of functions each, asked in the order of
// their registration. The functions get no data of ours, so the delegate is handed over here.
struct Handover {
  Status (*wrap)(TfLiteDelegate*, void (*)(TfLiteDelegate*), Handle*);
  TfLiteDelegate* first = nullptr;
  TfLiteDelegate* last = nullptr;
};
Handover g_handover;

struct Version {
  int major, minor, patch;
};
Status GetName(Handle, const char** name) { return *name = "edgekit-bench", 0; }
Status GetVersion(Handle, Version* version) { return *version = {1, 0, 0}, 0; }
Status GetHardwareSupport(Handle, int* hardware) { return *hardware = kCpu, 0; }
Status IsJit(Handle, bool* jit) { return *jit = false, 0; }  // false: always applied
void KeepDelegate(TfLiteDelegate*) {}                        // ours, not LiteRT's to destroy
Status CreateFirst(Handle, Handle, Handle, Handle, Handle* out) {
  return g_handover.wrap(g_handover.first, &KeepDelegate, out);
}
Status CreateLast(Handle, Handle, Handle, Handle, Handle* out) {
  return g_handover.wrap(g_handover.last, &KeepDelegate, out);
}

class LiteRt : public Runtime {
 public:
  explicit LiteRt(Library library) : library_(std::move(library)), api_(Resolve(library_)) {}
  ~LiteRt() override { Unload(); }

  const char* Kind() const override { return "litert"; }
  std::string Path() const override { return library_.PathOf("LiteRtCreateEnvironment"); }

  // The library doesn't say; its wheel does, in the name of a folder beside it.
  std::optional<std::string> Version() const override {
    const std::string package = FolderOf(Path());
    if (NameOf(package) != "ai_edge_litert") return std::nullopt;
    for (const std::string& path : Glob(package + "-*.dist-info")) {
      const std::string version = Split(NameOf(path), '-')[1];  // 2.3.0.dist
      return version.substr(0, version.rfind('.'));
    }
    return std::nullopt;
  }

  void Load(const Model& model, const Options& options) override {
    model_ = &model;
    options_ = &options;
    Refuse(model, options);
    if (options.delegate.IsPlugin()) plugin_ = std::make_unique<Plugin>(options.delegate);
    Compile(/*profiled=*/false);
  }

  Engaged Delegation() const override {
    return Describe(*options_, model_->operators, first_->plan(), last_->plan());
  }

  void SetInput(size_t index, const Bytes& bytes) override {
    void* memory = nullptr;
    Check(api_.Lock(inputs_[index], &memory, kWrite), "open an input buffer");
    memcpy(memory, bytes.data(), bytes.size());
    Check(api_.Unlock(inputs_[index]), "close an input buffer");
  }

  Bytes Output(size_t index) override {
    void* memory = nullptr;
    Check(api_.Lock(outputs_[index], &memory, kRead), "open an output buffer");
    const auto* start = static_cast<const uint8_t*>(memory);
    Bytes bytes(start, start + model_->outputs[index].bytes);
    Check(api_.Unlock(outputs_[index]), "close an output buffer");
    return bytes;
  }

  bool Invoke() override {
    status_ = api_.Run(compiled_, model_->signature, inputs_.size(), inputs_.data(),
                       outputs_.size(), outputs_.data());
    return status_ == 0;
  }

  std::string Problem() const override { return "LiteRT: " + NameOfStatus(status_); }

  std::optional<std::vector<OpTime>> Profile(const std::vector<Bytes>& inputs,
                                             int64_t runs) override {
    if (!CanProfile(api_)) return std::nullopt;
    Unload();
    Compile(/*profiled=*/true);
    Handle profiler = nullptr;
    Check(api_.GetProfiler(compiled_, &profiler), "start its profiler");
    if (profiler == nullptr) return std::nullopt;
    for (size_t i = 0; i < inputs.size(); ++i) SetInput(i, inputs[i]);

    std::vector<OpTime> ops;
    for (int64_t run = 0; run < runs; ++run) {
      // The buffer of events is small: emptied after every run.
      Check(api_.ResetProfiler(profiler), "reset its profiler");
      Check(api_.StartProfiler(profiler), "start its profiler");
      const bool fine = Invoke();
      Check(api_.StopProfiler(profiler), "stop its profiler");
      if (!fine) throw Failure(kRuntimeFailed, "a profiled run failed: " + Problem());
      AddEvents(profiler, &ops);
    }
    return ops;
  }

 private:
  static void Refuse(const Model& model, const Options& options) {
    if (options.delegate.kind == "nnapi") {
      throw Failure(kMissing, "LiteRT has no NNAPI delegate",
                    "Give a TFLite C library with --runtime, or use --delegate gpu.");
    }
    if (model.signature < 0) {
      throw Failure(kRuntimeFailed, "no signature of this model runs its first graph, and LiteRT "
                                    "runs signatures only",
                    "Give a TFLite C library with --runtime.");
    }
  }

  void Compile(bool profiled) {
    first_ = std::make_unique<Inspector>();
    last_ = std::make_unique<Inspector>();
    CreateEnvironment();
    Check(api_.CreateModelFromFile(environment_, options_->model.c_str(), &file_),
          "read the model");
    Check(api_.CreateOptions(&compile_options_), "create its options");
    const bool gpu = options_->delegate.kind == "gpu";
    Check(api_.SetAccelerators(compile_options_, gpu ? kGpu | kCpu : kCpu), "choose processors");
    std::string cpu = Format("num_threads = %d\n", options_->threads);
    if (options_->delegate.kind == "none") cpu += "kernel_mode = \"builtin\"\n";
    AddOptions("xnnpack", cpu);  // the name of the CPU's options, whatever runs there
    if (profiled) AddOptions("runtime_options_string", "enable_profiling = true\n");

    const Status status =
        api_.CreateCompiledModel(environment_, file_, compile_options_, &compiled_);
    const std::string plugin_errors = TakePluginErrors();
    if (status != 0 && !plugin_errors.empty()) {
      throw Failure(kRuntimeFailed, "the delegate could not prepare the model: " + plugin_errors);
    }
    if (status != 0 && options_->delegate.IsPlugin()) {
      throw Failure(kRuntimeFailed,
                    Format("LiteRT could not make the model ready with this delegate (%s)",
                           NameOfStatus(status).c_str()),
                    "What the delegate printed on stderr may say more.");
    }
    if (gpu && (status != 0 || GpuTookNothing())) {
      throw Failure(kRuntimeFailed,
                    status != 0 ? "LiteRT could not make the model ready for the GPU (" +
                                      NameOfStatus(status) + ")"
                                : "the GPU took no node: the model would have run on the CPU",
                    "Is there a GPU with a driver for OpenCL, Vulkan or WebGPU, and LiteRT's "
                    "library for it (libLiteRt*Accelerator.so) beside libLiteRt.so?");
    }
    Check(status, "make the model ready to run");
    CreateBuffers();
  }

  void CreateEnvironment() {
    const std::string folder = FolderOf(Path());
    const bool gpu = options_->delegate.kind == "gpu";
    const bool chosen = CanChooseDelegates(api_);
    if (!chosen && options_->delegate.IsPlugin()) {
      throw Failure(kMissing, "this LiteRT can't take an external delegate",
                    "Give a libtensorflowlite_c.so with --runtime.");
    }
    // LiteRT registers what it is told to here, before anything of ours: the GPU comes first in
    // any case. The CPU is registered below, so that a plug-in goes before XNNPACK.
    EnvOption settings[3] = {};
    settings[0] = {kMinLoggerSeverity, {kAnyInt, {kSeverityError}}};
    settings[1] = {kAutoRegisterAccelerators,
                   {kAnyInt, {(gpu ? kGpu : 0) | (chosen ? 0 : kCpu)}}};
    settings[2].tag = kRuntimeLibraryDir;  // where the accelerators' libraries lie
    settings[2].value.type = kAnyString;
    settings[2].value.text = folder.c_str();
    Check(api_.CreateEnvironment(3, settings, &environment_), "create its environment");
    if (!chosen) return;

    g_handover.wrap = api_.WrapDelegate;
    g_handover.first = first_->Wrap(plugin_ ? plugin_->delegate() : nullptr);
    g_handover.last = last_->Wrap(nullptr);
    Register(Ours(reinterpret_cast<void*>(&CreateFirst)));
    Register(**api_.cpu);
    Register(Ours(reinterpret_cast<void*>(&CreateLast)));
  }

  static AcceleratorDef Ours(void* create_delegate) {
    return {1, reinterpret_cast<void*>(&GetName), reinterpret_cast<void*>(&GetVersion),
            reinterpret_cast<void*>(&GetHardwareSupport), reinterpret_cast<void*>(&IsJit),
            create_delegate};
  }

  void Register(const AcceleratorDef& accelerator) {
    const char what[] = "register an accelerator";
    Handle handle = nullptr;
    Check(api_.CreateAccelerator(&handle), what);
    Check(api_.SetGetName(handle, accelerator.get_name), what);
    Check(api_.SetGetVersion(handle, accelerator.get_version), what);
    Check(api_.SetGetHardwareSupport(handle, accelerator.get_hardware_support), what);
    Check(api_.SetDelegateFunction(handle, accelerator.create_delegate), what);
    Check(api_.SetIsJit(handle, accelerator.is_jit), what);
    Check(api_.RegisterAccelerator(environment_, handle, nullptr, nullptr), what);
  }

  void AddOptions(const char* name, const std::string& toml) {
    Handle opaque = nullptr;
    Check(api_.CreateOpaqueOptions(name, strdup(toml.c_str()), &free, &opaque), "take options");
    Check(api_.AddOpaqueOptions(compile_options_, opaque), "take options");
  }

  void CreateBuffers() {
    for (size_t i = 0; i < model_->inputs.size(); ++i) {
      Handle needs = nullptr;
      Check(api_.InputRequirements(compiled_, model_->signature, i, &needs), "describe an input");
      inputs_.push_back(CreateBuffer(model_->inputs[i], needs));
    }
    for (size_t i = 0; i < model_->outputs.size(); ++i) {
      Handle needs = nullptr;
      Check(api_.OutputRequirements(compiled_, model_->signature, i, &needs), "describe an output");
      outputs_.push_back(CreateBuffer(model_->outputs[i], needs));
    }
  }

  Handle CreateBuffer(const Tensor& tensor, Handle requirements) {
    if (tensor.shape.size() > kMostDimensions) {
      throw Failure(kRuntimeFailed, Format("tensor \"%s\" has %zu dimensions; LiteRT takes %zu",
                                           tensor.name.c_str(), tensor.shape.size(),
                                           kMostDimensions));
    }
    RankedTensorType type = {};
    type.element_type = tensor.type.runtime_code;
    type.rank = static_cast<unsigned>(tensor.shape.size());
    for (size_t i = 0; i < tensor.shape.size(); ++i) type.dimensions[i] = tensor.shape[i];
    Handle buffer = nullptr;
    Check(api_.CreateBuffer(environment_, &type, requirements, &buffer), "create a buffer");
    size_t size = 0;
    Check(api_.BufferSize(buffer, &size), "size a buffer");
    if (size < tensor.bytes) {
      api_.DestroyBuffer(buffer);
      throw Failure(kRuntimeFailed, Format("tensor \"%s\" takes %zu bytes, LiteRT's buffer has %zu",
                                           tensor.name.c_str(), tensor.bytes, size));
    }
    return buffer;
  }

  // Asked for GPU or CPU, LiteRT runs on the CPU without a word where there is no GPU.
  bool GpuTookNothing() const { return first_->plan() && first_->plan()->partitions == 0; }

  void AddEvents(Handle profiler, std::vector<OpTime>* ops) {
    int count = 0;
    Check(api_.CountEvents(profiler, &count), "count its events");
    if (count <= 0) return;
    std::vector<ProfilerEvent> events(count);
    Check(api_.GetEvents(profiler, count, events.data()), "give its events");
    std::map<std::pair<std::string, int64_t>, size_t> places;
    for (size_t i = 0; i < ops->size(); ++i) places[{(*ops)[i].op, *(*ops)[i].index}] = i;
    for (const ProfilerEvent& event : events) {
      if ((event.type & kOperatorEvents) == 0 || event.tag == nullptr) continue;
      const auto index = static_cast<int64_t>(event.index);
      const auto [place, fresh] = places.try_emplace({event.tag, index}, ops->size());
      if (fresh) ops->push_back({index, event.tag, 0, 0});
      OpTime& op = (*ops)[place->second];
      ++op.calls;
      op.total_ns += static_cast<int64_t>(event.elapsed_us) * 1000;
    }
  }

  void Unload() {
    for (Handle& buffer : inputs_) api_.DestroyBuffer(buffer);
    for (Handle& buffer : outputs_) api_.DestroyBuffer(buffer);
    inputs_.clear();
    outputs_.clear();
    Destroy(api_.DestroyCompiledModel, &compiled_);
    Destroy(api_.DestroyOptions, &compile_options_);
    Destroy(api_.DestroyModel, &file_);
    Destroy(api_.DestroyEnvironment, &environment_);
  }

  static void Destroy(void (*destroy)(Handle), Handle* handle) {
    if (*handle != nullptr) destroy(*handle);
    *handle = nullptr;
  }

  Library library_;
  Api api_;
  const Model* model_ = nullptr;
  const Options* options_ = nullptr;
  std::unique_ptr<Plugin> plugin_;
  std::unique_ptr<Inspector> first_, last_;
  Handle environment_ = nullptr, file_ = nullptr, compile_options_ = nullptr, compiled_ = nullptr;
  std::vector<Handle> inputs_, outputs_;
  Status status_ = 0;
};

}  // namespace

std::unique_ptr<Runtime> MakeLiteRt(Library library) {
  return std::make_unique<LiteRt>(std::move(library));
}

}  // namespace edgekit
