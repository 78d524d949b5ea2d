#include "pipeline/outputs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "contracts/error.h"
#include "engines/engine.h"

namespace refinestyle {
namespace {

template <class T, class Is>
bool all(const Tensor& tensor, const Is& is) {
  const T* begin = tensor.data<T>();
  return std::all_of(begin, begin + element_count(tensor.shape), is);
}

}  // namespace

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

void require_finite(const Tensor& output, const Tensors& found, const std::string& what,
                    const std::string& hint) {
  const auto told = found.find(kFinite);
  if (told != found.end() ? all<std::uint8_t>(told->second, [](auto own) { return own != 0; })
                          : all<float>(output, [](float own) { return std::isfinite(own); })) {
    return;
  }
  throw Error(Status::kNumerics, "the " + what + " gave values that are not finite", "", "", hint);
}

}  // namespace refinestyle
