// Arrays as they travel between graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace refinestyle {

enum class DType { kUint8, kInt64, kFloat16, kFloat32 };

using Shape = std::vector<std::int64_t>;
using Shapes = std::map<std::string, Shape>;

// Bytes of one number.
std::size_t item_size(DType dtype);

// A dtype as manifests spell it.
const char* dtype_name(DType dtype);

// "[1, 128, 128, 3]".
std::string to_text(const Shape& shape);

std::size_t element_count(const Shape& shape);

// An array that somebody else owns: contiguous, row-major.
struct TensorView {
  DType dtype;
  Shape shape;
  const void* data;

  std::size_t size_bytes() const { return element_count(shape) * item_size(dtype); }

  // Rows [begin, end) of the first axis.
  TensorView rows(std::int64_t begin, std::int64_t end) const;
};

// An array of its own.
struct Tensor {
  DType dtype;
  Shape shape;
  std::vector<std::byte> bytes;

  Tensor() : dtype(DType::kUint8) {}
  Tensor(DType dtype, Shape shape)
      : dtype(dtype), shape(std::move(shape)), bytes(element_count(this->shape) * item_size(dtype)) {}

  template <class T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
  TensorView view() const { return {dtype, shape, bytes.data()}; }
};

using Views = std::map<std::string, TensorView>;
using Tensors = std::map<std::string, Tensor>;

// Joins arrays along their first axis; of one array, that array. Throws kIncompatible unless they
// are alike but for it.
Tensor concatenate(std::vector<Tensor> parts);

}  // namespace refinestyle
