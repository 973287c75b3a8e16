// One interface over the runtimes; each is found, opened and checked while the program runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "input.h"
#include "library.h"
#include "model.h"
#include "options.h"

namespace edgekit {

// What really runs the model, as far as the runtime lets one see.
struct Engaged {
  std::string delegate;  // the one that took nodes: the one asked for, else xnnpack, else none
  std::optional<int64_t> nodes_delegated, partitions;  // of that delegate
  std::vector<std::string> remarks;                    // what the user should know about it
};

struct OpTime {
  std::optional<int64_t> index;
  std::string op;
  int64_t calls = 0;
  int64_t total_ns = 0;
};

// Load, then fill the inputs, then invoke. All but Kind, Path and Version throw Failure.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual const char* Kind() const = 0;
  virtual std::string Path() const = 0;
  virtual std::optional<std::string> Version() const = 0;

  // Makes the model ready to run. Both arguments must outlive the runtime.
  virtual void Load(const Model& model, const Options& options) = 0;
  virtual Engaged Delegation() const = 0;
  virtual void SetInput(size_t index, const Bytes& bytes) = 0;
  virtual Bytes Output(size_t index) = 0;

  // Nothing but one inference: false where it failed, and Problem then says why.
  virtual bool Invoke() = 0;
  virtual std::string Problem() const = 0;

  // Times every op, with a model that is loaded once more for it: watching slows a run down.
  // Nothing where the runtime can't.
  virtual std::optional<std::vector<OpTime>> Profile(const std::vector<Bytes>& inputs,
                                                     int64_t runs) = 0;
};

// Opens the runtime that was asked for. Throws Failure(kMissing).
std::unique_ptr<Runtime> OpenRuntime(const std::string& wanted);

// The two there are. The library has been checked to be of that kind.
std::unique_ptr<Runtime> MakeLiteRt(Library library);
std::unique_ptr<Runtime> MakeTfLiteC(Library library);

// Puts what was seen of the plan into words. `accelerated` is the plan after the delegate that was
// asked for, `final` the one after all; XNNPACK takes what lies between.
struct Plan;
Engaged Describe(const Options& options, int64_t operators, const std::optional<Plan>& accelerated,
                 const std::optional<Plan>& final);

}  // namespace edgekit
