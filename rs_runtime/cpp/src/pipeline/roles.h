// Runs the roles of a bundle: picks a graph for each, opens it once, cuts large batches.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "contracts/bundle.h"
#include "engines/engine.h"
#include "engines/providers.h"

namespace refinestyle {

// Samples in one run, so that memory does not grow with the length of a list.
inline constexpr std::size_t kMaxBatch = 8;

// The first variant of the named role, in the manifest's order of preference, that suits the
// provider; computing in fp16 is for GPUs, the CPU form is not. Null if there is none.
const Variant* choose_variant(const std::string& name, const Role& role, const Provider& provider);

// Shapes that a variant takes, by input; -1 for a side that is known only at run time.
Shapes input_shapes(const Role& role, const Variant& variant);

// The graphs of one bundle, each opened when it is first needed. Threads may share it.
class RoleRunner {
 public:
  // Checks the provider; opens no graph yet. Throws as ProviderSelection does.
  RoleRunner(const Bundle& bundle, EngineOptions options);

  bool has(const std::string& name) const;

  // Throws kIncompatible if the bundle lacks the role.
  const Role& role(const std::string& name) const;

  // How many samples the role's graph takes in one run; opens it.
  std::size_t largest_batch(const std::string& name) const;

  // Runs one role. Inputs whose manifest shape begins with "N" share one batch size; a batch
  // larger than the graph or kMaxBatch takes is run in pieces.
  // Throws kIncompatible if the bundle lacks the role or a graph for the provider, kResource if the
  // provider does not start or memory runs out.
  Tensors run(const std::string& name, const Views& inputs) const;

  // The provider's name; "" until "auto" has opened its first graph.
  const char* provider() const;

 private:
  struct Opened {
    std::unique_ptr<Engine> engine;
    std::size_t largest_batch;
  };

  const Opened& open(const std::string& name) const;
  bool serves(const Provider& provider) const;

  const Bundle& bundle_;
  mutable ProviderSelection selection_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Opened> opened_;
};

}  // namespace refinestyle
