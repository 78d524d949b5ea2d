#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace refinestyle::native {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLargePage = std::size_t{1} << 21;

}  // namespace

void Unmap::operator()(float* data) const {
#if defined(_WIN32)
  _aligned_free(data);
#else
  std::free(data);
#endif
}

Floats make_floats(std::size_t count) {
  if (count > (std::size_t{1} << 40) / sizeof(float)) throw std::bad_alloc();
  const std::size_t bytes = count * sizeof(float);
  const std::size_t unit = bytes >= kLargePage ? kLargePage : kLine;
  const std::size_t rounded = (bytes + unit - 1) / unit * unit;
#if defined(_WIN32)
  void* data = _aligned_malloc(rounded ? rounded : unit, unit);
#else
  void* data = std::aligned_alloc(unit, rounded ? rounded : unit);
#endif
  if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  // A point's values lie megabytes apart: on small pages each is a miss of the address cache.
  if (unit == kLargePage) madvise(data, rounded, MADV_HUGEPAGE);
#endif
  std::memset(data, 0, rounded);
  return Floats(static_cast<float*>(data));
}

Floats copy(const std::vector<float>& values, std::size_t room, float factor) {
  Floats copied = make_floats(room);
  for (std::size_t i = 0; i < values.size(); ++i) copied[i] = factor * values[i];
  return copied;
}

}  // namespace refinestyle::native
