// Floats of 16 bits (IEEE 754 binary16), which C++17 has no type for.
#pragma once

#include <cstdint>

namespace refinestyle {

float half_to_float(std::uint16_t half);

// To the nearest, ties to even; infinite beyond 65504.
std::uint16_t float_to_half(float number);

}  // namespace refinestyle
