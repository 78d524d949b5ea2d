// The layers of an IR-SE50 trunk, their weights as the inner loops read them.
#pragma once

#include <vector>

#include "constants.h"
#include "filters.h"
#include "memory.h"

namespace refinestyle::native {

// A convolution, and what follows it: a bias, and a PReLU where there are slopes.
struct PlainConv : Filter {
  Floats bias, slope;  // [out_padded]; slope may be null
};

// One bottleneck unit: batch norm, convolution, PReLU, convolution with the stride, gate; and its
// shortcut, which is projected where the channels change.
struct Unit {
  Floats scale, shift;       // [in_padded], the batch norm
  PlainConv first, second, projection;
  bool projected = false;
  int stride = 1, squeezed = 0;
  std::vector<float> reduce, expand;  // [squeezed][C], [C][squeezed]
};

struct TrunkLayers {
  int size = 0, in = 0;  // of the picture
  PlainConv input;
  std::vector<Unit> units;
};

// Takes the constants by their names, as rs_export's `name_trunk` gives them.
//
// Throws BadGraph where one is missing, of another shape, or too large, and std::bad_alloc.
TrunkLayers build_trunk(const Constants& constants, int size, int panel);

}  // namespace refinestyle::native
