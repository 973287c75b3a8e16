// An external delegate for the tests: claims nodes by the names of their ops and computes them.
//
// Settings: claim=RESHAPE or claim=RESHAPE+ADD; fail=create, prepare, invoke, crash (an abort while
// it runs) or hang (a minute of sleep there); dynamic=yes sets the flag that it allows dynamic
// tensors. RESHAPE is a copy; ADD takes two float32 tensors of one shape.
//
// It knows TFLite's structs by itself, so that it also checks those of src/tflite_abi.h.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

enum Status : int { kOk = 0, kError = 1 };
constexpr int kAdd = 0, kReshape = 22, kDelegate = 51;

struct IntArray {
  int size;
  int data[];
};

struct Tensor {
  int type;
  void* data;
  IntArray* dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const IntArray* dims_signature;
};

struct Delegate;

struct Node {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
  Delegate* delegate;
  bool might_have_side_effect;
};

struct Context;

// With all the fields that later versions added: it is passed by value, and an older runtime looks
// at the first ones only.
struct Registration {
  void* (*init)(Context*, const char*, size_t);
  void (*free)(Context*, void*);
  Status (*prepare)(Context*, Node*);
  Status (*invoke)(Context*, Node*);
  const char* (*profiling_string)(const Context*, const Node*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void *registration_external, *async_kernel;
  uint64_t inplace_operator;
};

struct Context {
  size_t tensors_size;
  Status (*GetExecutionPlan)(Context*, IntArray**);
  Tensor* tensors;
  void* impl;
  void* ResizeTensor;
  void (*ReportError)(Context*, const char*, ...);
  void* AddTensors;
  Status (*GetNodeAndRegistration)(Context*, int, Node**, Registration**);
  Status (*ReplaceNodeSubsetsWithDelegateKernels)(Context*, Registration, const IntArray*,
                                                  Delegate*);
};

struct Delegate {
  void* data;
  Status (*Prepare)(Context*, Delegate*);
  void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
  int64_t flags;
  void* opaque_delegate_builder;
};

struct DelegateParams {
  Delegate* delegate;
  IntArray* nodes_to_replace;
};

struct Stub {
  Delegate delegate = {};
  std::vector<int> claimed;
  std::string fail;
};

struct Step {
  int op;
  std::vector<int> inputs;
  int output;
};

struct Kernel {
  std::vector<Step> steps;
  std::string fail;
  std::map<int, std::vector<char>> inside;  // what only this partition sees has no memory else

  void* Data(Context* context, int tensor) {
    Tensor& known = context->tensors[tensor];
    if (known.data != nullptr) return known.data;
    inside[tensor].resize(known.bytes);
    return inside[tensor].data();
  }
};

void* Init(Context* context, const char* buffer, size_t) {
  const auto* params = reinterpret_cast<const DelegateParams*>(buffer);
  const auto* stub = static_cast<const Stub*>(params->delegate->data);
  auto* kernel = new Kernel{{}, stub->fail, {}};
  for (int i = 0; i < params->nodes_to_replace->size; ++i) {
    Node* node;
    Registration* registration;
    context->GetNodeAndRegistration(context, params->nodes_to_replace->data[i], &node,
                                    &registration);
    kernel->steps.push_back({registration->builtin_code,
                             {node->inputs->data, node->inputs->data + node->inputs->size},
                             node->outputs->data[0]});
  }
  return kernel;
}

void Free(Context*, void* kernel) { delete static_cast<Kernel*>(kernel); }

Status Invoke(Context* context, Node* node) {
  auto* kernel = static_cast<Kernel*>(node->user_data);
  if (kernel->fail == "crash") abort();
  if (kernel->fail == "hang") {
    fprintf(stderr, "stub: hanging\n");
    for (int second = 0; second < 60; ++second) sleep(1);  // each may be cut short by a signal
  }
  if (kernel->fail == "invoke") {
    context->ReportError(context, "stub: told to fail at invoke");
    return kError;
  }
  for (const Step& step : kernel->steps) {
    const size_t bytes = context->tensors[step.output].bytes;
    void* output = kernel->Data(context, step.output);
    const void* first = kernel->Data(context, step.inputs[0]);
    if (step.op == kReshape) {
      memcpy(output, first, bytes);
      continue;
    }
    const auto* a = static_cast<const float*>(first);
    const auto* b = static_cast<const float*>(kernel->Data(context, step.inputs[1]));
    auto* sum = static_cast<float*>(output);
    for (size_t i = 0; i < bytes / sizeof(float); ++i) sum[i] = a[i] + b[i];
  }
  return kOk;
}

Status PrepareGraph(Context* context, Delegate* delegate) {
  const auto* stub = static_cast<const Stub*>(delegate->data);
  if (stub->fail == "prepare") {
    context->ReportError(context, "stub: told to fail at prepare");
    return kError;
  }
  IntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kOk) return kError;
  std::vector<int> nodes = {0};
  for (int i = 0; i < plan->size; ++i) {
    Node* node;
    Registration* registration;
    context->GetNodeAndRegistration(context, plan->data[i], &node, &registration);
    for (const int op : stub->claimed) {
      if (registration->builtin_code == op) nodes.push_back(plan->data[i]);
    }
  }
  nodes[0] = static_cast<int>(nodes.size()) - 1;
  if (nodes[0] == 0) return kOk;
  Registration registration = {};
  registration.init = &Init;
  registration.free = &Free;
  registration.invoke = &Invoke;
  registration.builtin_code = kDelegate;
  registration.custom_name = "StubDelegate";
  registration.version = 1;
  return context->ReplaceNodeSubsetsWithDelegateKernels(
      context, registration, reinterpret_cast<const IntArray*>(nodes.data()), delegate);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) Delegate* tflite_plugin_create_delegate(
    char** keys, char** values, size_t count, void (*report_error)(const char*)) {
  auto* stub = new Stub;
  stub->delegate.data = stub;
  stub->delegate.Prepare = &PrepareGraph;
  for (size_t i = 0; i < count; ++i) {
    const std::string key = keys[i], value = values[i];
    if (key == "claim") {
      if (value.find("ADD") != std::string::npos) stub->claimed.push_back(kAdd);
      if (value.find("RESHAPE") != std::string::npos) stub->claimed.push_back(kReshape);
    } else if (key == "fail") {
      stub->fail = value;
    } else if (key == "dynamic") {
      stub->delegate.flags = 1;
    } else {
      report_error(("stub: unknown setting " + key).c_str());
      stub->fail = "create";
    }
  }
  printf("stub delegate: chatter on stdout\n");
  if (stub->fail != "create") return &stub->delegate;
  report_error("stub: told to fail at create");
  delete stub;
  return nullptr;
}

extern "C" __attribute__((visibility("default"))) void tflite_plugin_destroy_delegate(
    Delegate* delegate) {
  delete static_cast<Stub*>(delegate->data);
}
