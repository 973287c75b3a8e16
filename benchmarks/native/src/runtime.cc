#include "runtime.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "delegates.h"
#include "failure.h"
#include "text.h"

namespace edgekit {
namespace {

const std::vector<std::string> kNames = {"libLiteRt.so", "libtensorflowlite_c.so",
                                         "libtensorflowlite_jni.so"};
const char kInstall[] =
    "Install one (pip install ai-edge-litert), or name one with --runtime PATH.";

std::unique_ptr<Runtime> FromLibrary(Library library, const std::string& path) {
  void* symbol = nullptr;
  library.Find("LiteRtCreateCompiledModel", &symbol);
  if (symbol != nullptr) return MakeLiteRt(std::move(library));
  library.Find("TfLiteInterpreterCreate", &symbol);
  if (symbol != nullptr) return MakeTfLiteC(std::move(library));
  throw Failure(kMissing,
                path + ": neither LiteRT (it lacks LiteRtCreateCompiledModel) nor the TFLite C API "
                       "(it lacks TfLiteInterpreterCreate)",
                "Give a libLiteRt.so, libtensorflowlite_c.so or libtensorflowlite_jni.so.");
}

bool IsFolder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string FolderOfThisProgram() {
  char* path = realpath("/proc/self/exe", nullptr);
  const std::string folder = path != nullptr ? FolderOf(path) : ".";
  free(path);
  return folder;
}

// Where Python's wheels put LiteRT.
std::vector<std::string> WheelFolders() {
  std::vector<std::string> roots;
  for (const char* variable : {"VIRTUAL_ENV", "HOME"}) {
    const char* value = getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    roots.push_back(std::string(value) + (*variable == 'H' ? "/.local/lib" : "/lib"));
  }
  roots.insert(roots.end(), {"/usr/local/lib", "/usr/lib"});
  std::vector<std::string> folders;
  for (const std::string& root : roots) {
    for (const char* packages : {"site-packages", "dist-packages"}) {
      for (const std::string& folder :
           Glob(root + "/python3*/" + packages + "/ai_edge_litert")) {
        folders.push_back(folder);
      }
    }
  }
  return folders;
}

std::unique_ptr<Runtime> OpenExact(const std::string& path) {
  Library library(path.find('/') == std::string::npos ? "./" + path : path);
  if (!library.ok()) {
    throw Failure(kMissing, path + ": the runtime can't be loaded: " + library.error(), kInstall);
  }
  return FromLibrary(std::move(library), path);
}

// The first of the names in the folder; null where none is there.
std::unique_ptr<Runtime> OpenIn(const std::string& folder) {
  for (const std::string& name : kNames) {
    const std::string path = folder + "/" + name;
    if (access(path.c_str(), F_OK) == 0) return OpenExact(path);
  }
  return nullptr;
}

std::unique_ptr<Runtime> OpenAny() {
  const std::string here = FolderOfThisProgram();
  if (auto runtime = OpenIn(here)) return runtime;
  for (const std::string& name : kNames) {
    Library library(name);
    if (library.ok()) return FromLibrary(std::move(library), name);
  }
  const std::vector<std::string> wheels = WheelFolders();
  for (const std::string& folder : wheels) {
    if (auto runtime = OpenIn(folder)) return runtime;
  }
  throw Failure(kMissing,
                "no TFLite runtime found: neither " + Join(kNames, ", ") + " in " + here +
                    ", nor where the system looks for libraries, nor a Python package "
                    "ai_edge_litert with one",
                kInstall);
}

}  // namespace

std::unique_ptr<Runtime> OpenRuntime(const std::string& wanted) {
  if (wanted == "auto") return OpenAny();
  if (!IsFolder(wanted)) return OpenExact(wanted);
  if (auto runtime = OpenIn(wanted)) return runtime;
  throw Failure(kMissing, wanted + ": holds none of " + Join(kNames, ", "), kInstall);
}

Engaged Describe(const Options& options, int64_t operators, const std::optional<Plan>& accelerated,
                 const std::optional<Plan>& final) {
  const std::string& wanted = options.delegate.kind;
  Engaged engaged;
  engaged.delegate = wanted;
  if (!final || !accelerated) {
    engaged.remarks.push_back(
        "this runtime doesn't show what a delegate took: nodes and partitions are not known");
    return engaged;
  }
  const int64_t by_accelerator = operators - accelerated->nodes;
  const int64_t by_xnnpack = accelerated->nodes - final->nodes;
  const int64_t xnnpack_partitions = final->partitions - accelerated->partitions;

  if (wanted == "none" && final->partitions > 0) {
    throw Failure(kRuntimeFailed,
                  "this runtime runs XNNPACK although builtin kernels were asked for "
                  "(--delegate none)",
                  "Use another runtime with --runtime, or --delegate xnnpack.");
  }
  if (wanted == "xnnpack" || wanted == "none") {
    engaged.delegate = by_xnnpack > 0 ? "xnnpack" : "none";
    engaged.nodes_delegated = by_xnnpack;
    engaged.partitions = xnnpack_partitions;
    if (wanted == "xnnpack" && by_xnnpack == 0) {
      engaged.remarks.push_back("XNNPACK took no node: builtin kernels run the model");
    }
    return engaged;
  }
  engaged.delegate = by_accelerator > 0 ? wanted : by_xnnpack > 0 ? "xnnpack" : "none";
  engaged.nodes_delegated = by_accelerator > 0 ? by_accelerator : by_xnnpack;
  engaged.partitions = by_accelerator > 0 ? accelerated->partitions : xnnpack_partitions;
  if (by_accelerator < operators) {
    engaged.remarks.push_back(
        Format("%s took %lld of %lld nodes; XNNPACK runs %lld and builtin kernels %lld",
               wanted.c_str(), static_cast<long long>(by_accelerator),
               static_cast<long long>(operators), static_cast<long long>(by_xnnpack),
               static_cast<long long>(final->nodes)));
  }
  return engaged;
}

}  // namespace edgekit
