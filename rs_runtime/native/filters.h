// The kernels of a 3x3 layer at the points of its algorithm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "constants.h"
#include "kernels.h"
#include "memory.h"

namespace refinestyle::native {

struct Filter {
  std::string name;
  int size = 0;         // of its input
  int in = 0, out = 0;  // channels
  int in_padded = 0, out_padded = 0;
  Algorithm algorithm{};
  bool resident = false;  // its kernels fit into a core's cache
  // [distinct^2][panels][in_padded][panel]; in columns they are transformed along one axis alone, and
  // the other still has its three taps: [distinct][panels][3][in_padded][panel].
  bool in_columns = false;
  Floats weights;
};

// The taps of a kernel for output o and input i, whatever the order that a file has them in.
struct Taps {
  static constexpr int kCount = 9;
  const float* values;
  long in, out;
  bool turned;  // [in][out][3][3]

  const float* at(long o, long i) const {
    return values + (turned ? i * out + o : o * in + i) * kCount;
  }
};

// What a layer may ask for, so that no number overflows and a hostile file not for all memory.
constexpr int64_t kMaxChannels = 4096, kMaxSize = 8192;
constexpr int64_t kMaxMap = int64_t{1} << 27;  // values of a map

// Throws BadGraph where a layer with a kernel of these dimensions, of which one is the outputs, has
// too many channels, or too large a map of `side` pixels.
void require_limits(const std::string& name, const std::vector<int64_t>& dims, int outputs,
                    int64_t side);

inline int padded(int channels) { return (channels + kChannels - 1) / kChannels * kChannels; }

// Sets `in_padded`, `out_padded` and `resident` of a filter that has all above them.
void set_room(Filter& filter);

// Throws std::bad_alloc.
void set_weights(Filter& filter, const Taps& taps, int panel);

// Where a weight of output o and input i lies in arrays [panels][in_padded][panel].
inline long place_of(const Filter& filter, int o, int i, int panel) {
  return (static_cast<long>(o / panel) * filter.in_padded + i) * panel + o % panel;
}

}  // namespace refinestyle::native
