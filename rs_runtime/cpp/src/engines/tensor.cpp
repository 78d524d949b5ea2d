#include "engines/tensor.h"

#include <cstring>

#include "contracts/error.h"

namespace refinestyle {
namespace {

struct DTypeRow {
  DType dtype;
  const char* name;
  std::size_t size;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kUint8, "uint8", 1},
    {DType::kInt64, "int64", 8},
    {DType::kFloat16, "float16", 2},
    {DType::kFloat32, "float32", 4},
};

const DTypeRow& row_of(DType dtype) { return kDTypes[static_cast<int>(dtype)]; }

Error unlike(const Tensor& part, const Tensor& first) {
  return Error(Status::kIncompatible, "a graph gives arrays that do not fit together",
               std::string(dtype_name(part.dtype)) + " " + to_text(part.shape),
               std::string(dtype_name(first.dtype)) + " " + to_text(first.shape));
}

}  // namespace

std::size_t item_size(DType dtype) { return row_of(dtype).size; }

const char* dtype_name(DType dtype) { return row_of(dtype).name; }

std::string to_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

std::size_t element_count(const Shape& shape) {
  std::size_t count = 1;
  for (std::int64_t side : shape) count *= static_cast<std::size_t>(side);
  return count;
}

TensorView TensorView::rows(std::int64_t begin, std::int64_t end) const {
  TensorView part = *this;
  part.shape[0] = end - begin;
  const std::size_t row_bytes = size_bytes() / static_cast<std::size_t>(shape[0]);
  part.data = static_cast<const std::byte*>(data) + row_bytes * static_cast<std::size_t>(begin);
  return part;
}

Tensor concatenate(std::vector<Tensor> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  Shape shape = parts.front().shape;
  std::int64_t rows = 0;
  for (const Tensor& part : parts) {
    Shape own = part.shape;
    if (own.empty() || part.dtype != parts.front().dtype) throw unlike(part, parts.front());
    rows += std::exchange(own[0], shape[0]);
    if (own != shape) throw unlike(part, parts.front());
  }
  shape[0] = rows;
  Tensor whole(parts.front().dtype, shape);
  std::byte* next = whole.bytes.data();
  for (const Tensor& part : parts) {
    std::memcpy(next, part.bytes.data(), part.bytes.size());
    next += part.bytes.size();
  }
  return whole;
}

}  // namespace refinestyle
