// Large arrays of floats for vectors to read.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace refinestyle::native {

struct Unmap {
  void operator()(float* data) const;
};

// Zeros, aligned to a cache line, on large pages where the system has them.
using Floats = std::unique_ptr<float[], Unmap>;

// Throws std::bad_alloc.
Floats make_floats(std::size_t count);

// The values times a factor, and zeros up to `room`. Throws std::bad_alloc.
Floats copy(const std::vector<float>& values, std::size_t room, float factor = 1);

// Floats that are made anew when more are needed.
struct Buffer {
  Floats floats;
  std::size_t size = 0;
};

}  // namespace refinestyle::native
