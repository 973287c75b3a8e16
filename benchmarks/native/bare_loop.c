// The barest loop over LiteRT's C API, to hold edgekit-bench against: see benchmarks/fidelity.py.
//
//     bare_loop LIBRARY MODEL INPUT_FILE INPUT_BYTES WARMUP_SECONDS SECONDS
//
// One input, one output, one thread, LiteRT's own defaults. Prints the time of every inference in
// nanoseconds, one a line. Nothing is checked but that calls succeed.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef void* Handle;

typedef struct {
  int element_type;
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
} RankedTensorType;

static void* library;

static void* Find(const char* name) {
  void* symbol = dlsym(library, name);
  if (symbol == NULL) {
    fprintf(stderr, "%s is missing\n", name);
    exit(1);
  }
  return symbol;
}

static void Check(int status, const char* what) {
  if (status != 0) {
    fprintf(stderr, "%s gave status %d\n", what, status);
    exit(1);
  }
}

#define CALL(name, types, ...) Check(((int(*) types)Find(#name))(__VA_ARGS__), #name)

static int64_t Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static Handle Buffer(Handle environment, Handle signature, Handle compiled, int output) {
  Handle tensor, needs, buffer;
  RankedTensorType type;
  if (output) {
    CALL(LiteRtGetSignatureOutputTensorByIndex, (Handle, size_t, Handle*), signature, 0, &tensor);
    CALL(LiteRtGetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle*),
         compiled, 0, 0, &needs);
  } else {
    CALL(LiteRtGetSignatureInputTensorByIndex, (Handle, size_t, Handle*), signature, 0, &tensor);
    CALL(LiteRtGetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle*),
         compiled, 0, 0, &needs);
  }
  CALL(LiteRtGetRankedTensorType, (Handle, RankedTensorType*), tensor, &type);
  CALL(LiteRtCreateManagedTensorBufferFromRequirements,
       (Handle, RankedTensorType*, Handle, Handle*), environment, &type, needs, &buffer);
  return buffer;
}

int main(int count, char** arguments) {
  if (count != 7) return 2;
  library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  Handle environment, model, options, compiled, signature;
  CALL(LiteRtCreateEnvironment, (int, void*, Handle*), 0, NULL, &environment);
  CALL(LiteRtCreateModelFromFile, (Handle, const char*, Handle*), environment, arguments[2],
       &model);
  CALL(LiteRtCreateOptions, (Handle*), &options);
  CALL(LiteRtSetOptionsHardwareAccelerators, (Handle, int), options, 1);
  CALL(LiteRtCreateCompiledModel, (Handle, Handle, Handle, Handle*), environment, model, options,
       &compiled);
  CALL(LiteRtGetModelSignature, (Handle, size_t, Handle*), model, 0, &signature);
  Handle input = Buffer(environment, signature, compiled, 0);
  Handle output = Buffer(environment, signature, compiled, 1);

  void* memory;
  const size_t bytes = strtoul(arguments[4], NULL, 10);
  CALL(LiteRtLockTensorBuffer, (Handle, void**, int), input, &memory, 1);
  FILE* file = fopen(arguments[3], "rb");
  if (file == NULL || fread(memory, 1, bytes, file) != bytes) return 1;
  fclose(file);
  CALL(LiteRtUnlockTensorBuffer, (Handle), input);

  int (*run)(Handle, size_t, size_t, Handle*, size_t, Handle*) = Find("LiteRtRunCompiledModel");
  const int64_t warm = Now() + (int64_t)(atof(arguments[5]) * 1e9);
  while (Now() < warm) Check(run(compiled, 0, 1, &input, 1, &output), "warm-up");

  const size_t most = 4000000;
  int64_t* samples = malloc(most * sizeof(*samples));
  size_t done = 0;
  const int64_t end = Now() + (int64_t)(atof(arguments[6]) * 1e9);
  for (int64_t stop = 0; stop < end && done < most;) {
    const int64_t start = Now();
    const int status = run(compiled, 0, 1, &input, 1, &output);
    stop = Now();
    Check(status, "LiteRtRunCompiledModel");
    samples[done++] = stop - start;
  }
  for (size_t i = 0; i < done; ++i) printf("%lld\n", (long long)samples[i]);
  return 0;
}
