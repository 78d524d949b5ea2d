// TensorRT as an engine; its library and CUDA's are loaded when they are first needed.
#pragma once

#include <memory>

#include "engines/engine.h"

namespace refinestyle {

// Throws kResource unless TensorRT, CUDA's runtime and a GPU are there.
void require_tensorrt();

// Opens the engine that was built from the graph for this very machine; of the graph only the hash
// is used. Throws kResource if none was built, kIncompatible if those that were built do not fit or
// TensorRT refuses it, kMalformed for a damaged engine or sidecar.
std::unique_ptr<Engine> open_tensorrt(const Graph& graph);

}  // namespace refinestyle
