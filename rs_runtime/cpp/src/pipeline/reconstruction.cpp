#include "pipeline/reconstruction.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace refinestyle {
namespace {

constexpr int kChannels = 3;

// Calls part(source, share) for each source pixel that target pixel `to` covers; shares sum to 1.
template <class Part>
void cover(int to, int from_side, int to_side, const Part& part) {
  const double ratio = static_cast<double>(from_side) / to_side;
  const double begin = to * ratio;
  const double end = std::min(begin + ratio, static_cast<double>(from_side));
  for (int source = static_cast<int>(begin); source < end; ++source) {
    const double share = std::min(end, source + 1.0) - std::max(begin, static_cast<double>(source));
    if (share > 0) part(source, share / ratio);
  }
}

std::vector<std::uint8_t> shrink(const std::uint8_t* pixels, int from_side, int to_side) {
  std::vector<std::uint8_t> small(static_cast<std::size_t>(to_side) * to_side * kChannels);
  std::vector<double> sums(static_cast<std::size_t>(to_side) * kChannels);
  for (int row = 0; row < to_side; ++row) {
    std::fill(sums.begin(), sums.end(), 0.0);
    cover(row, from_side, to_side, [&](int source_row, double row_share) {
      const std::uint8_t* line = pixels + static_cast<std::size_t>(source_row) * from_side * kChannels;
      for (int column = 0; column < to_side; ++column) {
        cover(column, from_side, to_side, [&](int source, double share) {
          for (int c = 0; c < kChannels; ++c) {
            sums[static_cast<std::size_t>(column * kChannels + c)] +=
                row_share * share * line[source * kChannels + c];
          }
        });
      }
    });
    std::uint8_t* to = small.data() + static_cast<std::size_t>(row) * sums.size();
    std::transform(sums.begin(), sums.end(), to,
                   [](double sum) { return static_cast<std::uint8_t>(std::lround(sum)); });
  }
  return small;
}

}  // namespace

double mean_squared_error(const std::uint8_t* one, int one_side, const std::uint8_t* other,
                          int other_side) {
  const int side = std::min(one_side, other_side);
  std::vector<std::uint8_t> small;
  if (one_side > side) {
    small = shrink(one, one_side, side);
    one = small.data();
  } else if (other_side > side) {
    small = shrink(other, other_side, side);
    other = small.data();
  }
  const std::size_t count = static_cast<std::size_t>(side) * side * kChannels;
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double difference = (static_cast<double>(one[i]) - other[i]) / 127.5;
    sum += difference * difference;
  }
  return sum / static_cast<double>(count);
}

}  // namespace refinestyle
