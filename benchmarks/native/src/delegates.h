// Delegates: loading a plug-in, and seeing what a delegate really took.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "library.h"
#include "tflite_abi.h"

namespace edgekit {

struct DelegateRequest;

// What is left to run, seen at one moment while a graph is made ready.
struct Plan {
  int64_t nodes = 0;       // that no delegate has taken
  int64_t partitions = 0;  // nodes that stand for what a delegate took
};

// A delegate that claims nothing and takes stock of the execution plan: after another delegate,
// where it has one (which is then handed to the runtime inside this one), else as it is.
//
// A runtime offers its plan to delegates only, while it prepares them; a delegate that claims no
// node changes nothing about what runs.
class Inspector {
 public:
  Inspector() = default;
  Inspector(const Inspector&) = delete;
  Inspector& operator=(const Inspector&) = delete;

  // To be called once, before the runtime gets it; `inner` may be null and must outlive this.
  TfLiteDelegate* Wrap(TfLiteDelegate* inner);

  // Of subgraph 0; nothing where the runtime never asked.
  const std::optional<Plan>& plan() const { return plan_; }

 private:
  static TfLiteStatus Prepare(TfLiteContext* context, TfLiteDelegate* self);
  void TakeStock(TfLiteContext* context);

  TfLiteDelegate delegate_ = {};
  TfLiteDelegate* inner_ = nullptr;
  TfLiteContext* main_graph_ = nullptr;
  std::optional<Plan> plan_;
};

// An external delegate: a library that exports tflite_plugin_create_delegate and
// tflite_plugin_destroy_delegate (tflite/delegates/external/external_delegate_interface.h). It is
// opened here and not by TfLiteExternalDelegateCreate, which crashes where the file is missing.
class Plugin {
 public:
  // Throws Failure: kMissing where it can't be loaded, kRuntimeFailed where it won't start.
  explicit Plugin(const DelegateRequest& request);
  ~Plugin();
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  TfLiteDelegate* delegate() const { return delegate_; }

 private:
  Library library_;
  TfLiteDelegate* delegate_ = nullptr;
  void (*destroy_)(TfLiteDelegate*) = nullptr;
};

// What plug-ins said went wrong since the last call, as one text; empty where nothing did.
std::string TakePluginErrors();

}  // namespace edgekit
