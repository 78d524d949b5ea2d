// The layers of a synthesis network, their weights as the inner loops read them.
#pragma once

#include <string>
#include <vector>

#include "constants.h"
#include "filters.h"
#include "kernels.h"
#include "memory.h"

namespace refinestyle::native {

// A linear layer from a latent [w_dim] to styles, in panels.
struct Affine {
  Floats weight, bias;  // [panels][w_dim][panel], [panels][panel]
  int panels = 0;
  long w_index = 0;     // which of the latents it reads
  long offset = 0;      // of its styles among the token sets' style offsets
};

// A refined convolution with noise, bias and activation.
struct Conv : Filter {
  long P_offset = 0, Q_offset = 0;  // in the packed tokens, the second for modulation, too
  float gain = 0;           // of all that follows the convolution, goes into the demodulation
  Affine affine;
  Floats tap_squares, tap_sums;  // [panels][in_padded][panel]
  Floats noise, bias;       // [2 size or size][same], [out_padded]; times the activation's gain
};

struct ToRgb {
  int size = 0, in = 0, in_padded = 0;
  Affine affine;
  Floats weight, bias;  // [3][in_padded], [3]
};

struct Layers {
  int size = 0;         // of the picture
  int w_dim = 0, num_ws = 0;
  long sum_out = 0, sum_in = 0, style_channels = 0;  // of packed tokens; toRGB counts in the last
  Floats start;         // [4][4][C], the input of the first layer
  std::vector<Conv> convs;     // in order; after each even one a toRGB follows
  std::vector<ToRgb> torgbs;
};

// Takes the constants by their names, as rs_export's `name_constants` gives them.
//
// Throws BadGraph where one is missing, of another shape, or too large, and std::bad_alloc.
Layers build_layers(const Constants& constants, int panel);

}  // namespace refinestyle::native
