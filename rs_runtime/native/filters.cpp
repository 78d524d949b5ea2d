#include "filters.h"

#include <algorithm>

namespace refinestyle::native {
namespace {

// Bytes of kernels that may stay in a core's cache beside a block of tiles.
constexpr long kResidentBytes = 2621440;

}  // namespace

void require_limits(const std::string& name, const std::vector<int64_t>& dims, int outputs,
                    int64_t side) {
  const bool are_few = dims.size() == 4 && std::max(dims[0], dims[1]) <= kMaxChannels;
  if (are_few && side <= kMaxSize &&
      side * side * padded(static_cast<int>(dims[outputs])) <= kMaxMap) {
    return;
  }
  throw BadGraph{"the layer '" + name + "' is too large",
                 text(dims) + " at " + std::to_string(side) + " pixels",
                 std::to_string(kMaxChannels) + " channels, " + std::to_string(kMaxSize) +
                     " pixels, " + std::to_string(kMaxMap) + " values at most"};
}

void set_room(Filter& filter) {
  filter.in_padded = padded(filter.in);
  filter.out_padded = padded(filter.out);
  const long distinct = shape_of(filter.algorithm).distinct;
  filter.resident =
      4 * distinct * distinct * filter.in_padded * filter.out_padded <= kResidentBytes;
}

void set_weights(Filter& filter, const Taps& taps, int panel) {
  const double(*points)[3] = weights_of(filter.algorithm);
  const int distinct = shape_of(filter.algorithm).distinct;
  const int columns = filter.in_columns ? 3 : distinct;
  const long a_panel = static_cast<long>(filter.in_padded) * panel;
  const long panels = filter.out_padded / panel;
  filter.weights = make_floats(distinct * columns * panels * a_panel);
  for (int o = 0; o < filter.out; ++o) {
    for (int i = 0; i < filter.in; ++i) {
      const float* tap = taps.at(o, i);
      float* to = filter.weights.get() + static_cast<long>(i) * panel + o % panel;
      for (int p = 0; p < distinct; ++p) {
        double row[3];
        for (int x = 0; x < 3; ++x) {
          row[x] = points[p][0] * tap[x] + points[p][1] * tap[3 + x] + points[p][2] * tap[6 + x];
        }
        for (int q = 0; q < columns; ++q) {
          const double value = filter.in_columns ? row[q]
                                                 : row[0] * points[q][0] + row[1] * points[q][1] +
                                                       row[2] * points[q][2];
          const long n = o / panel;
          const long at = filter.in_columns ? (p * panels + n) * columns + q
                                            : (p * columns + q) * panels + n;
          to[at * a_panel] = static_cast<float>(value);
        }
      }
    }
  }
}

}  // namespace refinestyle::native
