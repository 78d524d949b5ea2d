// TensorRT as an engine; its library and CUDA's are loaded when they are first needed.
#pragma once

#include <memory>
#include <string>

#include "contracts/bytes.h"
#include "contracts/engine_file.h"
#include "engines/engine.h"

namespace refinestyle {

// What engines that are built or run here are bound to. Throws kResource unless TensorRT, CUDA's
// runtime and a GPU are there.
Machine this_machine();

// Opens the engine that was built from the graph for this very machine; of the graph only the hash
// is used. Throws kResource if none was built, kIncompatible if those that were built do not fit or
// TensorRT refuses it, kMalformed for a damaged engine or sidecar.
std::unique_ptr<Engine> open_tensorrt(const Graph& graph);

// Opens an engine that another program built here, to write down in its sidecar the shapes that it
// takes; `plugins` is the path of the plugin library, if the sidecar names one. TensorRT runs code
// of an engine: call it for the caller's own. Throws kResource, and kIncompatible if TensorRT
// refuses the engine or its tensors are not those of the sidecar.
void describe_shapes(EngineFile& sidecar, const Bytes& engine, const std::string& plugins);

}  // namespace refinestyle
