// The normal numbers of a seed, those that NumPy's RandomState(seed).randn draws, so that a seed is
// one head in C++ and in Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace refinestyle {

std::vector<float> standard_normal(std::uint32_t seed, std::size_t count);

}  // namespace refinestyle
