// Graphs in sessions of ONNX Runtime, whose library is loaded by path: two copies of it linked into
// one process are its classic crash.
#pragma once

#include <memory>
#include <string>

#include "engines/engine.h"

namespace refinestyle {

// Throws kResource unless the library loads and was built with the provider, "cpu" or "cuda".
// path: see EngineOptions::onnxruntime.
void require_onnxruntime(const std::string& provider, const std::string& path);

// Throws kResource if the provider does not start, kIncompatible for a refused graph.
std::unique_ptr<Engine> open_onnxruntime(const Graph& graph, const std::string& provider,
                                         const EngineOptions& options);

}  // namespace refinestyle
