#include "engines/providers.h"

#include <utility>

#include "contracts/error.h"
#ifdef REFINESTYLE_NATIVE
#include "engines/native_encoder.h"
#include "engines/native_engine.h"
#endif
#ifdef REFINESTYLE_ONNXRUNTIME
#include "engines/onnxruntime_engine.h"
#endif
#ifdef REFINESTYLE_OPENVINO
#include "engines/openvino_engine.h"
#endif
#ifdef REFINESTYLE_TENSORRT
#include "engines/tensorrt_engine.h"
#endif

namespace refinestyle {
namespace {

Error not_built(const std::string& what) {
  return Error(Status::kResource, what, built_providers().empty() ? "none" : built_providers(), "",
               "build the library with its engine: see REFINESTYLE_OPENVINO, REFINESTYLE_NATIVE, "
               "REFINESTYLE_ONNXRUNTIME_INCLUDE, REFINESTYLE_TENSORRT_INCLUDE in its "
               "CMakeLists.txt");
}

Provider onnxruntime_cuda() {
  Provider provider{"cuda", "onnxruntime", false, true, nullptr, nullptr};
#ifdef REFINESTYLE_ONNXRUNTIME
  provider.require = [](const EngineOptions& options) {
    require_onnxruntime("cuda", options.onnxruntime);
  };
  provider.open = [](const Graph& graph, const EngineOptions& options) {
    return open_onnxruntime(graph, "cuda", options);
  };
#endif
  return provider;
}

Provider onnxruntime_cpu() {
  Provider provider{"cpu", "onnxruntime", true, true, nullptr, nullptr};
#ifdef REFINESTYLE_ONNXRUNTIME
  provider.require = [](const EngineOptions& options) {
    require_onnxruntime("cpu", options.onnxruntime);
  };
  provider.open = [](const Graph& graph, const EngineOptions& options) {
    return open_onnxruntime(graph, "cpu", options);
  };
#endif
  return provider;
}

Provider openvino() {
  Provider provider{"openvino", "openvino", true, true, nullptr, nullptr};
#ifdef REFINESTYLE_OPENVINO
  provider.require = [](const EngineOptions&) { require_openvino("openvino"); };
  provider.open = open_openvino;
#endif
  return provider;
}

Provider openvino_bf16() {
  Provider provider{"openvino-bf16", "openvino", true, false, nullptr, nullptr};
#ifdef REFINESTYLE_OPENVINO
  provider.require = [](const EngineOptions&) { require_openvino("openvino-bf16"); };
  provider.open = open_openvino;
#endif
  return provider;
}

#ifdef REFINESTYLE_NATIVE
Error no_companion() {
  return not_built("provider 'native' draws pictures alone, and there is no engine for the rest");
}

std::unique_ptr<Engine> open_companion(const Graph& graph, EngineOptions options) {
  options.beside_another = true;
  const Provider companion = graph.engine == "openvino" ? openvino() : onnxruntime_cpu();
  return companion.open(graph, options);
}

// The synthesis wholly, of encoders the trunk; what is left of them and all else on a companion.
std::unique_ptr<Engine> open_native_or_companion(const Graph& graph, const EngineOptions& options) {
  if (graph.engine != "native") return open_companion(graph, options);
  if (graph.shapes.count("image") == 0) return open_native(graph, options);
  if (companions().empty()) throw no_companion();
  return open_native_encoder(graph, options, [&](Graph part) {
    part.engine = companions().front();
    return open_companion(part, options);
  });
}
#endif

Provider native() {
  Provider provider{"native", "native", true, false, nullptr, nullptr};
#ifdef REFINESTYLE_NATIVE
  provider.automatic = native_is_fast();
  provider.require = [](const EngineOptions&) {
    if (companions().empty()) throw no_companion();
  };
  provider.open = open_native_or_companion;
#endif
  return provider;
}

// Not automatic, as it runs files that were made apart from the bundle.
Provider tensorrt() {
  Provider provider{"tensorrt", "tensorrt", false, false, nullptr, nullptr};
#ifdef REFINESTYLE_TENSORRT
  provider.require = [](const EngineOptions&) { this_machine(); };
  provider.open = [](const Graph& graph, const EngineOptions& options) {
    if (graph.engine == "tensorrt") return open_tensorrt(graph);
    EngineOptions own = options;
    own.beside_another = true;
    return open_onnxruntime(graph, "cpu", own);
  };
#endif
  return provider;
}

void append(std::string& list, const std::string& item, const char* separator) {
  list += (list.empty() ? "" : separator) + item;
}

const Provider& find(const std::string& name) {
  std::string known = "auto";
  for (const Provider& provider : all_providers()) {
    if (name == provider.name) return provider;
    append(known, provider.name, ", ");
  }
  throw Error(Status::kUsage, "unknown provider '" + name + "'", "", known);
}

}  // namespace

const std::vector<Provider>& all_providers() {
  static const std::vector<Provider> all = {tensorrt(),      onnxruntime_cuda(), native(), openvino(),
                                            openvino_bf16(), onnxruntime_cpu()};
  return all;
}

const std::vector<std::string>& companions() {
  static const std::vector<std::string> engines = {
#ifdef REFINESTYLE_OPENVINO
      "openvino",
#endif
#ifdef REFINESTYLE_ONNXRUNTIME
      "onnxruntime",
#endif
  };
  return engines;
}

const std::string& built_providers() {
  static const std::string list = [] {
    std::string names;
    for (const Provider& provider : all_providers()) {
      if (provider.open) append(names, provider.name, ", ");
    }
    return names;
  }();
  return list;
}

ProviderSelection::ProviderSelection(EngineOptions options,
                                     const std::function<bool(const Provider&)>& serves)
    : options_(std::move(options)), chosen_(nullptr) {
  if (options_.threads < 0) {
    throw Error(Status::kUsage, "threads must be at least 1, or 0 for the engine's own number",
                std::to_string(options_.threads));
  }
  if (options_.provider != "auto") {
    const Provider& named = find(options_.provider);
    if (!named.open) {
      throw not_built("this library was built without provider '" + options_.provider + "'");
    }
    named.require(options_);
    chosen_ = &named;
    return;
  }
  for (const Provider& provider : all_providers()) {
    if (provider.open && provider.automatic && serves(provider)) order_.push_back(&provider);
  }
  if (order_.empty()) {
    throw not_built("this library was built without any engine that the bundle has graphs for");
  }
}

std::unique_ptr<Engine> ProviderSelection::open(
    const std::function<Graph(const Provider&)>& choose) {
  if (const Provider* chosen = chosen_) return chosen->open(choose(*chosen), options_);
  std::string failures;
  for (const Provider* provider : order_) {
    try {
      provider->require(options_);
      std::unique_ptr<Engine> engine = provider->open(choose(*provider), options_);
      chosen_ = provider;
      return engine;
    } catch (const Error& error) {
      if (error.status != Status::kResource) throw;
      append(failures, std::string(provider->name) + ": " + error.failed, "; ");
    }
  }
  throw Error(Status::kResource, "no engine that the bundle has graphs for works here", failures);
}

}  // namespace refinestyle
