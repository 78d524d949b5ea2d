// What graphs give, checked.
#pragma once

#include <string>

#include "engines/tensor.h"

namespace refinestyle {

inline constexpr char kRepairBundle[] =
    "the bundle is damaged; get it again or export it again";

// Takes an output that must be of this dtype and shape; a side of -1 may be any. Throws
// kIncompatible for anything else.
Tensor take_output(Tensors& outputs, const std::string& name, DType dtype, const Shape& shape);

// Throws kNumerics if the floats of `output` are not finite, which the engine may have told along with
// them, in `found`; `what` gave them, `hint` is the next step.
void require_finite(const Tensor& output, const Tensors& found, const std::string& what,
                    const std::string& hint);

}  // namespace refinestyle
