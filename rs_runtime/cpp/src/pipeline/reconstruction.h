// How far a reconstruction is from its picture.
#pragma once

#include <cstdint>

namespace refinestyle {

// Mean squared error of two square RGB pictures in [-1, 1] units, at the smaller one's size: the
// larger is averaged over areas.
double mean_squared_error(const std::uint8_t* one, int one_side, const std::uint8_t* other,
                          int other_side);

}  // namespace refinestyle
