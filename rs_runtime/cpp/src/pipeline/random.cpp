#include "pipeline/random.h"

#include <cmath>
#include <random>

namespace refinestyle {
namespace {

// 53 random bits as a number in [0, 1).
double uniform(std::mt19937& bits) {
  const double high = static_cast<double>(bits() >> 5U);
  const double low = static_cast<double>(bits() >> 6U);
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

}  // namespace

std::vector<float> standard_normal(std::uint32_t seed, std::size_t count) {
  std::mt19937 bits(seed);
  std::vector<float> numbers;
  while (numbers.size() < count) {
    // Marsaglia's polar method gives two numbers at once, the second of the pair first.
    double x = 0, y = 0, square = 0;
    do {
      x = 2.0 * uniform(bits) - 1.0;
      y = 2.0 * uniform(bits) - 1.0;
      square = x * x + y * y;
    } while (square >= 1.0 || square == 0.0);
    const double factor = std::sqrt(-2.0 * std::log(square) / square);
    numbers.push_back(static_cast<float>(factor * y));
    if (numbers.size() < count) numbers.push_back(static_cast<float>(factor * x));
  }
  return numbers;
}

}  // namespace refinestyle
