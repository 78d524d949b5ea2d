// Our own engine for encoders: their trunk, an IR-SE50, in Winograd form, see rs_runtime/native.
#pragma once

#include <functional>
#include <memory>

#include "engines/engine.h"

namespace refinestyle {

// Opens a part of a graph with an engine for graphs of any kind; sets the part's engine.
using OpenPart = std::function<std::unique_ptr<Engine>(Graph part)>;

// Takes over the trunk's constants of an encoder's graph, whose names rs_export gives them, and
// opens what comes before the trunk and after it with `open_part`. The graph's input `image` is
// [1, S, S, 3]; runs one sample at a time, in fp32. Threads that share it run side by side as far
// as there are CPUs for options.threads each, and else wait for the trunk.
//
// Throws kIncompatible for another graph, kResource if memory or threads run out, and what
// open_part throws.
std::unique_ptr<Engine> open_native_encoder(const Graph& graph, const EngineOptions& options,
                                            const OpenPart& open_part);

}  // namespace refinestyle
