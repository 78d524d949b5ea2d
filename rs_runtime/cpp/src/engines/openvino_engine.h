// Graphs compiled by OpenVINO for the CPU.
#pragma once

#include <memory>
#include <string>

#include "engines/engine.h"

namespace refinestyle {

// Throws kResource unless the CPU computes in the precision of "openvino" or "openvino-bf16".
void require_openvino(const std::string& provider);

// Throws kResource if the graph's precision is not to be had, kIncompatible for a refused graph.
std::unique_ptr<Engine> open_openvino(const Graph& graph, const EngineOptions& options);

}  // namespace refinestyle
