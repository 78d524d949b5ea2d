#include "pipeline/outputs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "contracts/error.h"

namespace refinestyle {

Tensor take_output(Tensors& outputs, const std::string& name, DType dtype, const Shape& shape) {
  const auto found = outputs.find(name);
  const bool fits = found != outputs.end() && found->second.dtype == dtype &&
                    std::equal(shape.begin(), shape.end(), found->second.shape.begin(),
                               found->second.shape.end(), [](std::int64_t side, std::int64_t own) {
                                 return side == own || (side == -1 && own > 0);
                               });
  if (fits) return std::move(found->second);
  throw Error(Status::kIncompatible, "a graph's output " + name + " is not what its role gives",
              found == outputs.end() ? "no such output"
                                     : std::string(dtype_name(found->second.dtype)) + " " +
                                           to_text(found->second.shape),
              std::string(dtype_name(dtype)) + " " + to_text(shape), kRepairBundle);
}

void require_finite(const Tensor& tensor, const std::string& what, const std::string& hint) {
  const auto* begin = tensor.data<float>();
  const auto* end = begin + element_count(tensor.shape);
  if (std::all_of(begin, end, [](float value) { return std::isfinite(value); })) return;
  throw Error(Status::kNumerics, "the " + what + " gave values that are not finite", "", "", hint);
}

}  // namespace refinestyle
