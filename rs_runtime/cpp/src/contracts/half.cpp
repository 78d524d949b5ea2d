#include "contracts/half.h"

#include <cmath>

namespace refinestyle {
namespace {

constexpr int kFractionBits = 10;
constexpr int kLeastExponent = -14;  // of a normal number
constexpr float kLeastNormal = 1.0f / 16384;
constexpr std::uint16_t kInfinity = 0x7C00;

}  // namespace

float half_to_float(std::uint16_t half) {
  const int exponent = half >> kFractionBits & 31;
  const int fraction = half & 0x3FF;
  float size;
  if (exponent == 31) {
    size = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    size = std::ldexp(static_cast<float>(fraction), kLeastExponent - kFractionBits);
  } else {
    size = std::ldexp(static_cast<float>(fraction + 0x400), exponent - 15 - kFractionBits);
  }
  return (half & 0x8000) != 0 ? -size : size;
}

std::uint16_t float_to_half(float number) {
  const std::uint16_t sign = std::signbit(number) ? 0x8000 : 0;
  if (std::isnan(number)) return sign | kInfinity | 0x200;
  const float size = std::fabs(number);
  if (size >= 65520.0f) return sign | kInfinity;  // halfway between the largest and the next
  const int exponent = size < kLeastNormal ? kLeastExponent : std::ilogb(size);
  // In units of the last place, rounded in the mode of the processor: to nearest, ties to even. The
  // bits of a half are a number that counts these units, so that a carry into the exponent is
  // right.
  const float units = std::nearbyint(std::ldexp(size, kFractionBits - exponent));
  const int base = (exponent - kLeastExponent) << kFractionBits;
  return sign | static_cast<std::uint16_t>(base + static_cast<int>(units));
}

}  // namespace refinestyle
