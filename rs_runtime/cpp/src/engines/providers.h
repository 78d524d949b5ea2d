// Which engine and provider run a bundle.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engines/engine.h"

namespace refinestyle {

// A way to run graphs that a user may name.
struct Provider {
  const char* name;
  const char* engine;  // as manifests call it
  bool on_cpu;         // computes in fp32 whatever the weights are stored in, save bf16
  bool automatic;      // "auto" may choose it; not what computes in less than fp32
  // Both null in a library that was built without the engine.
  void (*require)(const EngineOptions& options);  // throws kResource unless it is there
  std::unique_ptr<Engine> (*open)(const Graph& graph, const EngineOptions& options);
};

// Every provider there is, fastest first.
const std::vector<Provider>& all_providers();

// The role that our own engine runs wholly; of encoders it runs the trunk, where a bundle has such
// a variant. And the engines for graphs of any kind that this library was built with, fastest
// first: they run what it leaves to others on the CPU.
inline constexpr const char* kNativeRole = "synthesis";
const std::vector<std::string>& companions();

// Names of those that this library was built with, comma-separated.
const std::string& built_providers();

// Opens graphs with the provider asked for, or with one that "auto" found and keeps.
class ProviderSelection {
 public:
  // serves: whether the bundle has graphs for a provider; "auto" passes over the others.
  // Throws kUsage for an unknown name, kResource for a named provider that is not to be had.
  ProviderSelection(EngineOptions options, const std::function<bool(const Provider&)>& serves);

  // Opens the graph that `choose` gives for a provider. Throws what opening it throws; with "auto"
  // kResource if no provider starts.
  std::unique_ptr<Engine> open(const std::function<Graph(const Provider&)>& choose);

  // The one in use; null while "auto" has not yet opened a graph.
  const Provider* chosen() const { return chosen_; }

 private:
  EngineOptions options_;
  std::vector<const Provider*> order_;   // what "auto" tries
  std::atomic<const Provider*> chosen_;  // read while another thread opens the first graph
};

}  // namespace refinestyle
