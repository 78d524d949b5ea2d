// Our own engine for the role `synthesis`: 3x3 layers in Winograd form, see rs_runtime/native.
#pragma once

#include <memory>

#include "engines/engine.h"

namespace refinestyle {

// Whether it was compiled for instructions of this CPU that make it faster than other engines.
bool native_is_fast();

// Takes over a synthesis graph's constants, whose names rs_export gives them, and transforms the
// kernels; runs one sample at a time, in fp32. Threads that share it run side by side as far as there
// are CPUs for options.threads each, and else wait.
//
// Throws kIncompatible for another graph, kResource if memory or threads run out.
std::unique_ptr<Engine> open_native(const Graph& graph, const EngineOptions& options);

}  // namespace refinestyle
