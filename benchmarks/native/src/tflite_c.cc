// The TFLite C API: libtensorflowlite_c.so, or the JNI library of the Android AAR.
//
// Prototypes after tensorflow/lite/c/c_api.h and c_api_experimental.h; tried with 2.9.0.
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "delegates.h"
#include "failure.h"
#include "runtime.h"
#include "text.h"

namespace edgekit {
namespace {

using Handle = void*;
using Status = int;  // 0 is fine

struct Api {
  const char* (*Version)();
  Handle (*ModelCreateFromFile)(const char*);
  void (*ModelDelete)(Handle);
  Handle (*OptionsCreate)();
  void (*OptionsDelete)(Handle);
  void (*SetNumThreads)(Handle options, int32_t);
  void (*AddDelegate)(Handle options, TfLiteDelegate*);
  void (*SetErrorReporter)(Handle options, void (*)(void*, const char*, va_list), void*);
  Handle (*InterpreterCreate)(Handle model, Handle options);
  void (*InterpreterDelete)(Handle);
  Status (*AllocateTensors)(Handle);
  Status (*Invoke)(Handle);
  int32_t (*InputCount)(Handle);
  int32_t (*OutputCount)(Handle);
  Handle (*InputTensor)(Handle, int32_t);
  Handle (*OutputTensor)(Handle, int32_t);
  size_t (*ByteSize)(Handle);
  Status (*CopyFromBuffer)(Handle, const void*, size_t);
  Status (*CopyToBuffer)(Handle, void*, size_t);

  // Not in every build.
  Status (*ModifyGraphWithDelegate)(Handle, TfLiteDelegate*);
  void (*SetUseNnapi)(Handle options, bool);
  void* XnnpackOptionsDefault;
  TfLiteDelegate* (*XnnpackCreate)(const void* options);
  void (*XnnpackDelete)(TfLiteDelegate*);
};

Api Resolve(const Library& library) {
  Api api = {};
  Resolver needed(library);
  needed.Need("TfLiteVersion", &api.Version);
  needed.Need("TfLiteModelCreateFromFile", &api.ModelCreateFromFile);
  needed.Need("TfLiteModelDelete", &api.ModelDelete);
  needed.Need("TfLiteInterpreterOptionsCreate", &api.OptionsCreate);
  needed.Need("TfLiteInterpreterOptionsDelete", &api.OptionsDelete);
  needed.Need("TfLiteInterpreterOptionsSetNumThreads", &api.SetNumThreads);
  needed.Need("TfLiteInterpreterOptionsAddDelegate", &api.AddDelegate);
  needed.Need("TfLiteInterpreterOptionsSetErrorReporter", &api.SetErrorReporter);
  needed.Need("TfLiteInterpreterCreate", &api.InterpreterCreate);
  needed.Need("TfLiteInterpreterDelete", &api.InterpreterDelete);
  needed.Need("TfLiteInterpreterAllocateTensors", &api.AllocateTensors);
  needed.Need("TfLiteInterpreterInvoke", &api.Invoke);
  needed.Need("TfLiteInterpreterGetInputTensorCount", &api.InputCount);
  needed.Need("TfLiteInterpreterGetOutputTensorCount", &api.OutputCount);
  needed.Need("TfLiteInterpreterGetInputTensor", &api.InputTensor);
  needed.Need("TfLiteInterpreterGetOutputTensor", &api.OutputTensor);
  needed.Need("TfLiteTensorByteSize", &api.ByteSize);
  needed.Need("TfLiteTensorCopyFromBuffer", &api.CopyFromBuffer);
  needed.Need("TfLiteTensorCopyToBuffer", &api.CopyToBuffer);
  if (!needed.missing().empty()) {
    throw Failure(kMissing,
                  "this TFLite C library lacks what is needed: " + Join(needed.missing(), ", "),
                  "Use a libtensorflowlite_c.so of TensorFlow 2.5 or later.");
  }
  library.Find("TfLiteInterpreterModifyGraphWithDelegate", &api.ModifyGraphWithDelegate);
  library.Find("TfLiteInterpreterOptionsSetUseNNAPI", &api.SetUseNnapi);
  library.Find("TfLiteXNNPackDelegateOptionsDefault", &api.XnnpackOptionsDefault);
  library.Find("TfLiteXNNPackDelegateCreate", &api.XnnpackCreate);
  library.Find("TfLiteXNNPackDelegateDelete", &api.XnnpackDelete);
  return api;
}

// TfLiteXNNPackDelegateOptionsDefault returns a struct by value that has grown over the years, from
// 4 bytes (2.9) on. A large one is written to where the caller says, a small one comes back in
// registers. It is called as if it returned a large one; where nothing was written, it was small.
struct XnnpackOptions {
  int32_t num_threads;  // the first field in all versions
  char rest[508];
};
struct SmallOptions {
  int64_t words[2];
};

XnnpackOptions DefaultXnnpackOptions(void* function, int threads) {
  constexpr unsigned char kUntouched = 0xA5;
  alignas(16) unsigned char memory[sizeof(XnnpackOptions)];
  memset(memory, kUntouched, sizeof(memory));
  asm volatile("" : : "r"(memory) : "memory");  // the pattern must be there before the call
  new (memory) XnnpackOptions(reinterpret_cast<XnnpackOptions (*)()>(function)());
  asm volatile("" : : "r"(memory) : "memory");

  XnnpackOptions options = {};
  size_t written = 0;
  for (size_t i = 0; i < sizeof(memory); ++i) {
    if (memory[i] != kUntouched) written = i + 1;
  }
  if (written > 0) {
    memcpy(&options, memory, written);
  } else {
    const SmallOptions small = reinterpret_cast<SmallOptions (*)()>(function)();
    memcpy(&options, &small, sizeof(small));
  }
  options.num_threads = threads;
  return options;
}

class TfLiteC : public Runtime {
 public:
  explicit TfLiteC(Library library) : library_(std::move(library)), api_(Resolve(library_)) {}

  ~TfLiteC() override {
    if (interpreter_ != nullptr) api_.InterpreterDelete(interpreter_);
    if (interpreter_options_ != nullptr) api_.OptionsDelete(interpreter_options_);
    if (file_ != nullptr) api_.ModelDelete(file_);
    if (own_delegate_ != nullptr) delete_own_delegate_(own_delegate_);
  }

  const char* Kind() const override { return "tflite_c"; }
  std::string Path() const override { return library_.PathOf("TfLiteInterpreterCreate"); }
  std::optional<std::string> Version() const override { return api_.Version(); }

  void Load(const Model& model, const Options& options) override {
    model_ = &model;
    options_ = &options;
    file_ = api_.ModelCreateFromFile(options.model.c_str());
    if (file_ == nullptr) Fail("read the model");
    interpreter_options_ = api_.OptionsCreate();
    api_.SetErrorReporter(interpreter_options_, &TfLiteC::OnError, this);
    api_.SetNumThreads(interpreter_options_, options.threads);
    AddDelegates(options.delegate);

    interpreter_ = api_.InterpreterCreate(file_, interpreter_options_);
    if (interpreter_ == nullptr) Fail("make the model ready to run");
    if (api_.AllocateTensors(interpreter_) != 0) Fail("allocate the tensors");
    LookAgain();
    CheckTensors(model);
  }

  Engaged Delegation() const override {
    const std::optional<Plan>& final = last_.plan() ? last_.plan() : first_.plan();
    const bool accelerated = options_->delegate.kind != "xnnpack";
    const Plan untouched = {model_->operators, 0};
    return Describe(*options_, model_->operators,
                    accelerated ? first_.plan() : std::optional<Plan>(untouched), final);
  }

  void SetInput(size_t index, const Bytes& bytes) override {
    Handle tensor = api_.InputTensor(interpreter_, static_cast<int32_t>(index));
    if (api_.CopyFromBuffer(tensor, bytes.data(), bytes.size()) != 0) Fail("take an input");
  }

  Bytes Output(size_t index) override {
    Handle tensor = api_.OutputTensor(interpreter_, static_cast<int32_t>(index));
    Bytes bytes(api_.ByteSize(tensor));
    if (api_.CopyToBuffer(tensor, bytes.data(), bytes.size()) != 0) Fail("give an output");
    return bytes;
  }

  bool Invoke() override { return api_.Invoke(interpreter_) == 0; }
  std::string Problem() const override {
    return "TFLite: " + (errors_.empty() ? "no reason given" : errors_);
  }

  std::optional<std::vector<OpTime>> Profile(const std::vector<Bytes>&, int64_t) override {
    return std::nullopt;  // the C API shows no profiler
  }

 private:
  // In the order in which they are applied. Where a build applies XNNPACK by itself, that comes
  // later, while tensors are allocated.
  void AddDelegates(const DelegateRequest& wanted) {
    TfLiteDelegate* delegate = nullptr;
    if (wanted.IsPlugin()) {
      plugin_ = std::make_unique<Plugin>(wanted);
      delegate = plugin_->delegate();
    } else if (wanted.kind == "gpu") {
      delegate = MakeGpu();
    } else if (wanted.kind == "nnapi") {
      UseNnapi();
    } else if (wanted.kind == "xnnpack" && api_.XnnpackCreate != nullptr) {
      delegate = MakeXnnpack();
    }
    TfLiteDelegate* inspected = first_.Wrap(delegate);
    // A delegate that allows no dynamic tensors makes the graph final, and a runtime's own XNNPACK
    // then stays away: that is how builtin kernels are had.
    if (wanted.kind == "none") inspected->flags = 0;
    api_.AddDelegate(interpreter_options_, inspected);
  }

  TfLiteDelegate* MakeXnnpack() {
    const XnnpackOptions options =
        DefaultXnnpackOptions(api_.XnnpackOptionsDefault, options_->threads);
    own_delegate_ = api_.XnnpackCreate(&options);
    delete_own_delegate_ = api_.XnnpackDelete;
    if (own_delegate_ == nullptr) Fail("create its XNNPACK delegate");
    return own_delegate_;
  }

  // In the runtime itself, or in the AAR's second library beside it.
  TfLiteDelegate* MakeGpu() {
    TfLiteDelegate* (*create)(const void*) = nullptr;
    library_.Find("TfLiteGpuDelegateV2Create", &create);
    if (create == nullptr) {
      gpu_library_ = Library(FolderOf(Path()) + "/libtensorflowlite_gpu_jni.so");
    }
    const Library& owner = create == nullptr ? gpu_library_ : library_;
    owner.Find("TfLiteGpuDelegateV2Create", &create);
    owner.Find("TfLiteGpuDelegateV2Delete", &delete_own_delegate_);
    if (create == nullptr || delete_own_delegate_ == nullptr) {
      throw Failure(kMissing, "this runtime has no GPU delegate (TfLiteGpuDelegateV2Create)",
                    "Put libtensorflowlite_gpu_jni.so beside it, or use LiteRT.");
    }
    own_delegate_ = create(nullptr);  // null: its defaults
    if (own_delegate_ == nullptr) Fail("create its GPU delegate");
    return own_delegate_;
  }

  void UseNnapi() {
#ifdef __ANDROID__
    if (api_.SetUseNnapi != nullptr) {
      api_.SetUseNnapi(interpreter_options_, true);
      return;
    }
    throw Failure(kMissing, "this runtime has no NNAPI delegate", "Use --delegate gpu.");
#else
    throw Failure(kMissing, "NNAPI exists on Android only", "Use --delegate xnnpack.");
#endif
  }

  // XNNPACK, applied by the runtime itself, came after the first look.
  void LookAgain() {
    if (api_.ModifyGraphWithDelegate == nullptr) return;
    if (api_.ModifyGraphWithDelegate(interpreter_, last_.Wrap(nullptr)) != 0) return;
    if (api_.AllocateTensors(interpreter_) != 0) Fail("allocate the tensors");
  }

  void CheckTensors(const Model& model) {
    const auto check = [&](int32_t count, const std::vector<Tensor>& tensors,
                           Handle (*get)(Handle, int32_t)) {
      bool fits = count == static_cast<int32_t>(tensors.size());
      for (size_t i = 0; fits && i < tensors.size(); ++i) {
        fits = api_.ByteSize(get(interpreter_, static_cast<int32_t>(i))) == tensors[i].bytes;
      }
      return fits;
    };
    if (!check(api_.InputCount(interpreter_), model.inputs, api_.InputTensor) ||
        !check(api_.OutputCount(interpreter_), model.outputs, api_.OutputTensor)) {
      throw Failure(kRuntimeFailed,
                    "the runtime gives the inputs and outputs other sizes than the file does",
                    "Shapes that depend on the input are not supported; fix them when converting.");
    }
  }

  static void OnError(void* self, const char* format, va_list arguments) {
    char text[512];
    vsnprintf(text, sizeof(text), format, arguments);
    std::string& errors = static_cast<TfLiteC*>(self)->errors_;
    errors += (errors.empty() ? "" : "; ") + Trim(text);
  }

  [[noreturn]] void Fail(const char* what) const {
    const std::string plugin = TakePluginErrors();
    throw Failure(kRuntimeFailed,
                  std::string("TFLite could not ") + what +
                      (errors_.empty() ? "" : ": " + errors_) +
                      (plugin.empty() ? "" : "; the delegate says: " + plugin));
  }

  Library library_;
  Library gpu_library_;
  Api api_;
  const Model* model_ = nullptr;
  const Options* options_ = nullptr;
  std::unique_ptr<Plugin> plugin_;
  TfLiteDelegate* own_delegate_ = nullptr;
  void (*delete_own_delegate_)(TfLiteDelegate*) = nullptr;
  Inspector first_, last_;
  Handle file_ = nullptr, interpreter_options_ = nullptr, interpreter_ = nullptr;
  std::string errors_;
};

}  // namespace

std::unique_ptr<Runtime> MakeTfLiteC(Library library) {
  return std::make_unique<TfLiteC>(std::move(library));
}

}  // namespace edgekit
