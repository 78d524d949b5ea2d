// Cuts a piece out of an ONNX graph: from values that are given to values that are wanted. What our
// own engine computes of a graph is left out, and the engine beside it gets the rest.
#pragma once

#include "contracts/bytes.h"
#include "engines/tensor.h"

namespace refinestyle {

// The part of a flat model that computes some values from others, as a model.
//
// given: values that become inputs, float32; what only they depend on is left out. Inputs of the
// graph that are still read stay. wanted: values that become its only outputs, float32; none keeps
// the graph's own. Throws kIncompatible for bytes that are no model, or one without such values.
Bytes cut(ByteView graph, const Shapes& given, const Shapes& wanted);

}  // namespace refinestyle
