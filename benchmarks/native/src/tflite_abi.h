// The parts of TFLite's C structs that a delegate sees.
//
// Written after tflite/core/c/common.h. The fields up to those used here have kept their places
// from TensorFlow 2.5 to LiteRT 2.3; both runtimes tested (TFLite C 2.9.0, LiteRT 2.3.0) agree.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgekit {

enum TfLiteStatus : int { kTfLiteOk = 0, kTfLiteError = 1 };

constexpr int kTfLiteBuiltinDelegate = 51;
constexpr int64_t kTfLiteDelegateFlagsAllowDynamicTensors = 1;

struct TfLiteIntArray {
  int size;
  int data[];
};

struct TfLiteDelegate;

struct TfLiteNode {
  TfLiteIntArray *inputs, *outputs, *intermediates, *temporaries;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
  TfLiteDelegate* delegate;
};

struct TfLiteContext;

struct TfLiteRegistration {
  void* (*init)(TfLiteContext*, const char*, size_t);
  void (*free)(TfLiteContext*, void*);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  const char* (*profiling_string)(const TfLiteContext*, const TfLiteNode*);
  int32_t builtin_code;
};

struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext*, TfLiteIntArray**);
  void* tensors;
  void* impl;
  void* ResizeTensor;
  void* ReportError;
  void* AddTensors;
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext*, int, TfLiteNode**, TfLiteRegistration**);
};

struct TfLiteDelegate {
  void* data;
  TfLiteStatus (*Prepare)(TfLiteContext*, TfLiteDelegate*);
  void* CopyFromBufferHandle;
  void* CopyToBufferHandle;
  void* FreeBufferHandle;
  int64_t flags;
  void* opaque_delegate_builder;  // since 2.11; null: Prepare is used
};

}  // namespace edgekit
