// The inner loops, compiled once for each instruction set.
//
// Maps are [H][W][C] with C padded to a multiple of kChannels, and zeros around them. Between forward
// transform, products and inverse transform the values of a block of tiles lie as
// [point][group][C / kBlock][tile of the group][kBlock], with groups of kGroup tiles: a product
// reads and writes it from front to back.
#pragma once

#include <cstdint>

#include "algorithms.h"

namespace refinestyle::native {

constexpr int kBlock = 16;     // channels side by side in a block
constexpr int kChannels = 32;  // what channels are padded to
constexpr int kGroup = 13;     // tiles whose sums stay in registers at once (AVX-512)

// A whole map, or a ring of the rows that are still needed. A row and a column of zeros lie before it.
struct Map {
  float* data;  // of slot 0, column -1
  long row;     // floats from a slot to the next
  long pixel;   // floats from a pixel to the next: the padded channels
  long mask;    // row r is in slot (r + 1) & mask; of a whole map -1

  float* at(long r, long column) const {
    return data + ((r + 1) & mask) * row + (column + 1) * pixel;
  }
};

// Consecutive tiles of a layer, row by row.
struct Tiles {
  int first, count;
  int per_row;
  int groups;  // that the buffers have room for
};

struct Epilogue {
  const float* bias;   // [C], times the activation's gain
  const float* noise;  // [H][W], likewise
  long noise_row;
};

// What follows a layer that is not refined.
struct PlainEpilogue {
  const float* bias;   // [C]
  const float* slope;  // [C], of negative values; null: they stay as they are
};

// A second map, of what is written into the first: scale x + shift, a batch norm.
struct Normalised {
  const float *scale, *shift;  // [C]
  Map map;
};

// Of toRGB, whose kernel [3][C] is scaled by its style.
struct Rgb {
  const float* weight;  // null: there is none
  long channels;        // floats from a colour's weights to the next
  float* planes;        // [3][H][W], added to
  long row, plane;
};

struct Residual {
  const float* P;  // [L][ld_P], at the panel's first channel
  const float* Q;  // [L][ld_Q]
  long ld_P, ld_Q;
  int rank, in;               // L; padded input channels
  const float* style;         // [in], offset included
  const float* modulation;    // [in]
  const float* tap_squares;   // [in][panel]: sums over taps of W0^2
  const float* tap_sums;      // [in][panel]: and of W0
  float gain;                 // of what follows, goes into d
};

struct Kernels {
  const char* name;  // of the instruction set
  int panel;         // outputs of a panel of weights

  // Forward transform of a block of tiles: map -> V of `blocks` channel blocks.
  void (*forward)(Algorithm, const Map&, const Tiles&, int blocks, float* V);
  // One panel of a point's products, M = V weights: weights [in][panel], V [group][blocks][..][..],
  // M [group][out_blocks][..][..]; `panel` counts from the layer's first.
  void (*multiply)(const float* weights, int blocks, const float* V, int tiles, float* M,
                   int out_blocks, int panel);
  // Inverse transforms. y may be null where only the colours are wanted.
  void (*inverse_keep)(Algorithm, const float* M, int out_blocks, const Tiles&, const Epilogue&,
                       const Map* y, const Rgb&);
  void (*inverse_up)(Algorithm, const float* M, int out_blocks, const Tiles&, const Map& y);
  // norm may be null.
  void (*inverse_plain)(Algorithm, const float* M, int out_blocks, const Tiles&,
                        const PlainEpilogue&, const Map& y, const Normalised* norm);
  // Blur, noise, bias, activation: rows [row, row_end) of y, `width` pixels, from an up layer's x,
  // which has a row and a column more.
  void (*blur)(const Map& x, const Epilogue&, const Map& y, int row, int row_end, int width);
  // dW^T m of one panel [in][panel], and d [panel].
  void (*residual)(const Residual&, float* change, float* d);
  // One panel of one point: d (gain W + box dW), all [in][panel].
  void (*materialise)(const float* weights, const float* change, const float* gain, const float* d,
                      float box, int in, float* kernel);
  // One panel of `distinct` points from the three columns of weights: columns [3][in][panel],
  // kernels [distinct][in][panel].
  void (*finish)(Algorithm, const float* columns, int in, float* kernels);
  // Sums over a row of a map, [C].
  void (*sum_row)(const Map& x, int row, int width, float* sums);
  // A row of y = gate x + shortcut, of which every step'th pixel is read.
  void (*gate)(const Map& x, const float* gate, const Map& shortcut, int step, const Map& y,
               const Normalised* norm, int row, int width);
  // y = x weights + bias: weights [panels][in][panel].
  void (*affine)(const float* x, const float* weights, const float* bias, int in, int panels,
                 float* y);
  // Rows [row, row_end) of twice as large a picture [3][2 size][2 size], plus bias.
  void (*upsample)(const float* picture, int size, const float* bias, int row, int row_end,
                   float* larger);
  // Rows of uint8 [H][W][3] from [3][H][W]. False where a value is not finite.
  bool (*to_bytes)(const float* picture, int size, int row, int row_end, uint8_t* bytes);
};

// Those of an instruction set, "avx512", "avx2" or "baseline", or of null the fastest that this
// machine has. Null where it has not got the one that is named, or nobody knows it.
const Kernels* kernels(const char* name = nullptr);

}  // namespace refinestyle::native
