#include "delegates.h"

#include "failure.h"
#include "options.h"
#include "text.h"

namespace edgekit {

TfLiteDelegate* Inspector::Wrap(TfLiteDelegate* inner) {
  // An opaque delegate is prepared in another way and can't be called from here.
  if (inner != nullptr && inner->Prepare == nullptr) return inner;
  inner_ = inner;
  delegate_.data = this;
  delegate_.Prepare = &Inspector::Prepare;
  delegate_.flags = inner != nullptr ? inner->flags : kTfLiteDelegateFlagsAllowDynamicTensors;
  return &delegate_;
}

TfLiteStatus Inspector::Prepare(TfLiteContext* context, TfLiteDelegate* self) {
  auto* inspector = static_cast<Inspector*>(self->data);
  if (inspector->inner_ != nullptr) {
    const TfLiteStatus status = inspector->inner_->Prepare(context, inspector->inner_);
    if (status != kTfLiteOk) return status;
  }
  inspector->TakeStock(context);
  return kTfLiteOk;
}

void Inspector::TakeStock(TfLiteContext* context) {
  // Subgraph 0 comes first; others are the bodies of control flow. It may come again, when the
  // runtime prepares its graph anew.
  if (main_graph_ == nullptr) main_graph_ = context;
  if (context != main_graph_) return;

  TfLiteIntArray* order = nullptr;
  if (context->GetExecutionPlan(context, &order) != kTfLiteOk || order == nullptr) return;
  Plan plan;
  for (int i = 0; i < order->size; ++i) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, order->data[i], &node, &registration) !=
        kTfLiteOk) {
      return;
    }
    ++(registration->builtin_code == kTfLiteBuiltinDelegate ? plan.partitions : plan.nodes);
  }
  plan_ = plan;
}

namespace {

std::vector<std::string>& PluginErrors() {
  static std::vector<std::string> errors;
  return errors;
}

void OnPluginError(const char* text) { PluginErrors().push_back(Trim(text)); }

using CreateFunction = TfLiteDelegate* (*)(char** keys, char** values, size_t count,
                                           void (*report_error)(const char*));

Library OpenEdgeTpu() {
  std::vector<std::string> places = {"libedgetpu.so.1"};  // the system's own search comes first
  for (const char* pattern :
       {"/usr/lib/*/libedgetpu.so.1", "/usr/lib/libedgetpu.so.1", "/usr/local/lib/libedgetpu.so.1",
        "/usr/lib64/libedgetpu.so.1"}) {
    for (const std::string& path : Glob(pattern)) places.push_back(path);
  }
  std::string first_error;
  for (const std::string& place : places) {
    Library library(place);
    if (library.ok()) return library;
    if (first_error.empty()) first_error = library.error();
  }
  throw Failure(kMissing, "the Edge TPU's library libedgetpu.so.1 can't be loaded: " + first_error,
                "Install it (sudo apt install libedgetpu1-std), or name it with "
                "--delegate external:PATH.");
}

Library OpenExternal(const std::string& path) {
  // A bare name would be searched for in the system's folders only.
  const bool bare = path.find('/') == std::string::npos;
  Library library(bare ? "./" + path : path);
  if (!library.ok() && bare) library = Library(path);
  if (!library.ok()) {
    throw Failure(kMissing, path + ": the delegate can't be loaded: " + library.error(),
                  "Check the path, and that the library is for this machine.");
  }
  return library;
}

}  // namespace

std::string TakePluginErrors() {
  const std::string text = Join(PluginErrors(), "; ");
  PluginErrors().clear();
  return text;
}

Plugin::Plugin(const DelegateRequest& request)
    : library_(request.kind == "edgetpu" ? OpenEdgeTpu() : OpenExternal(request.path)) {
  const std::string name = request.kind == "edgetpu" ? "libedgetpu.so.1" : request.path;
  CreateFunction create = nullptr;
  library_.Find("tflite_plugin_create_delegate", &create);
  library_.Find("tflite_plugin_destroy_delegate", &destroy_);
  if (create == nullptr || destroy_ == nullptr) {
    throw Failure(kMissing,
                  name + ": not an external delegate (it doesn't export "
                         "tflite_plugin_create_delegate and tflite_plugin_destroy_delegate)",
                  "Give a library that was built as a TFLite external delegate.");
  }
  std::vector<std::pair<std::string, std::string>> settings = request.settings;
  std::vector<char*> keys, values;
  for (auto& [key, value] : settings) {
    keys.push_back(key.data());
    values.push_back(value.data());
  }
  delegate_ = create(keys.data(), values.data(), keys.size(), &OnPluginError);
  if (delegate_ == nullptr) {
    const std::string reason = TakePluginErrors();
    throw Failure(kRuntimeFailed,
                  name + ": the delegate could not be created" +
                      (reason.empty() ? " and gave no reason" : ": " + reason),
                  request.kind == "edgetpu" ? "Is the accelerator plugged in, and may this user "
                                              "use it? (lsusb, group plugdev)"
                                            : "Check its settings and that its device is there.");
  }
}

Plugin::~Plugin() {
  if (delegate_ != nullptr) destroy_(delegate_);
}

}  // namespace edgekit
