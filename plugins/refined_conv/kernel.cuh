// The inner operator of the refined convolution: what one thread computes.
//
//   y = gain · lrelu( d ⊙ (base' + residual') + noise + bias )
//
// base' and residual' are what the geometry (refine_epilogue.h) makes of the two. All functions
// compile for the device and for the host; the tile's phases are separated by barriers on the
// device and run thread by thread on the host.
#pragma once

#include "elements.cuh"
#include "refine_epilogue.h"

namespace rs {

enum class Geometry { kPoint = RS_POINT, kBox = RS_BOX, kUp = RS_UP };

// Strides of one tensor in elements.
struct Strides {
  std::int64_t sample;
  std::int32_t channel, y, x;
};

RS_INLINE Strides strides_of(int layout, int channels, int height, int width) {
  const std::int64_t sample = std::int64_t(channels) * height * width;
  if (layout == RS_CHANNELS_LAST) return {sample, 1, width * channels, channels};
  return {sample, height * width, width, 1};
}

// One call's arguments with the strides and sizes that follow from them.
struct Operator {
  RsRefineEpilogue args;
  Strides base, residual, out;
  int base_height, base_width, residual_height, residual_width;
};

inline Operator make_operator(const RsRefineEpilogue& args) {
  Operator op;
  op.args = args;
  const bool up = args.geometry == RS_UP;
  op.base_height = args.height + (up ? 1 : 0);
  op.base_width = args.width + (up ? 1 : 0);
  op.residual_height = up ? args.height / 2 : args.height;
  op.residual_width = up ? args.width / 2 : args.width;
  op.base = strides_of(args.layout, args.channels, op.base_height, op.base_width);
  op.out = strides_of(args.layout, args.channels, args.height, args.width);
  op.residual = strides_of(args.layout, args.P ? args.rank : args.channels, op.residual_height,
                           op.residual_width);
  return op;
}

// V channels' view of one sample's plane; outside it everything is zero.
template <typename T, int V>
struct Plane {
  const T* data;
  int stride_y, stride_x, height, width;

  RS_INLINE Lanes<V> at(int y, int x) const {
    if (y < 0 || y >= height || x < 0 || x >= width) return zeros<V>();
    return load<T, V>(data + std::int64_t(y) * stride_y + std::int64_t(x) * stride_x);
  }
};

template <typename T, int V>
RS_INLINE Plane<T, V> base_plane(const Operator& op, int n, int c) {
  const Strides& s = op.base;
  const T* data = static_cast<const T*>(op.args.base);
  return {data + n * s.sample + std::int64_t(c) * s.channel, s.y, s.x, op.base_height,
          op.base_width};
}

template <typename T, int V>
RS_INLINE Plane<T, V> residual_plane(const Operator& op, int n, int c) {
  const Strides& s = op.residual;
  const T* data = static_cast<const T*>(op.args.residual);
  return {data + n * s.sample + std::int64_t(c) * s.channel, s.y, s.x, op.residual_height,
          op.residual_width};
}

// What the ones kernel, the stride-2 transposition and the blur [1, 3, 3, 1]/4 make of a
// low-resolution row: out[2p] = (4 r[p-1] + 7 r[p] + r[p+1]) / 4 and out[2p+1] mirrored.
RS_INLINE float up_weight(int phase, int tap) {
  const int mirrored = phase ? 2 - tap : tap;
  return mirrored == 0 ? 1.0f : mirrored == 1 ? 1.75f : 0.25f;
}

RS_INLINE float blur_weight(int tap) { return tap == 0 || tap == 3 ? 0.25f : 0.75f; }

// The per-channel numbers of V channels, and the last step of every path.
template <typename T, int V>
struct Finish {
  Lanes<V> demodulation, bias;
  const T* noise;
  T* out;
  int noise_y, out_y, out_x;
  float slope, gain;

  RS_INLINE Finish(const Operator& op, int n, int c) {
    const RsRefineEpilogue& a = op.args;
    demodulation = zeros<V>();
    RS_UNROLL
    for (int i = 0; i < V; ++i) demodulation.v[i] = 1.0f;
    if (a.demodulation) {
      demodulation = load<float, V>(a.demodulation + std::int64_t(n) * a.channels + c);
    }
    bias = a.bias ? load<float, V>(a.bias + c) : zeros<V>();
    const std::int64_t plane = std::int64_t(a.height) * a.width;
    noise = static_cast<const T*>(a.noise);
    if (noise && a.noise_batch > 1) noise += n * plane;
    noise_y = a.width;
    out = static_cast<T*>(a.out) + n * op.out.sample + std::int64_t(c) * op.out.channel;
    out_y = op.out.y;
    out_x = op.out.x;
    slope = a.slope;
    gain = a.gain;
  }

  RS_INLINE void operator()(int y, int x, const Lanes<V>& sum) const {
    const float shift = noise ? load<T, 1>(noise + std::int64_t(y) * noise_y + x).v[0] : 0.0f;
    Lanes<V> result;
    RS_UNROLL
    for (int i = 0; i < V; ++i) {
      const float value = demodulation.v[i] * sum.v[i] + (shift + bias.v[i]);
      result.v[i] = (value < 0.0f ? value * slope : value) * gain;
    }
    store<T, V>(out + std::int64_t(y) * out_y + std::int64_t(x) * out_x, result);
  }
};

// ---- Column: a thread owns V channels of `Rows` pixels below one another, with the residual
// already in the output's channels. Each loaded row serves every output row that needs it.

template <typename T, int V>
RS_INLINE Lanes<V> box_row(const Plane<T, V>& plane, int y, int x) {
  Lanes<V> sum = plane.at(y, x - 1);
  add_scaled(sum, 1.0f, plane.at(y, x));
  add_scaled(sum, 1.0f, plane.at(y, x + 1));
  return sum;
}

template <typename T, int V, int Rows, Geometry G, bool Residual>
RS_INLINE void column(const Operator& op, int n, int c, int x, int y0) {
  const Plane<T, V> base = base_plane<T, V>(op, n, c);
  const Plane<T, V> residual = Residual ? residual_plane<T, V>(op, n, c) : base;
  const Finish<T, V> finish(op, n, c);
  Lanes<V> sums[Rows];
  RS_UNROLL
  for (int r = 0; r < Rows; ++r) sums[r] = base.at(y0 + r, x);
  if (Residual && G == Geometry::kPoint) {
    RS_UNROLL
    for (int r = 0; r < Rows; ++r) add_scaled(sums[r], 1.0f, residual.at(y0 + r, x));
  }
  if (Residual && G == Geometry::kBox) {
    RS_UNROLL
    for (int j = -1; j <= Rows; ++j) {
      const Lanes<V> row = box_row(residual, y0 + j, x);
      RS_UNROLL
      for (int r = 0; r < Rows; ++r) {
        if (r - j <= 1 && j - r <= 1) add_scaled(sums[r], 1.0f, row);
      }
    }
  }
  RS_UNROLL
  for (int r = 0; r < Rows; ++r) {
    if (y0 + r < op.args.height) finish(y0 + r, x, sums[r]);
  }
}

// The same for the up geometry: the thread owns `Pairs` squares of 2 x 2 output pixels at
// low-resolution column p, rows q0 and on.
template <typename T, int V, int Pairs, bool Residual>
RS_INLINE void up_column(const Operator& op, int n, int c, int p, int q0) {
  const Plane<T, V> base = base_plane<T, V>(op, n, c);
  Lanes<V> sums[2 * Pairs][2];
  RS_UNROLL
  for (int r = 0; r < 2 * Pairs; ++r) sums[r][0] = sums[r][1] = zeros<V>();
  RS_UNROLL
  for (int j = -1; j <= 2 * Pairs + 1; ++j) {  // rows of the raw transposed convolution
    Lanes<V> row[2] = {zeros<V>(), zeros<V>()};
    RS_UNROLL
    for (int i = -1; i <= 3; ++i) {
      const Lanes<V> value = base.at(2 * q0 + j, 2 * p + i);
      if (i < 3) add_scaled(row[0], blur_weight(i + 1), value);
      if (i >= 0) add_scaled(row[1], blur_weight(i), value);
    }
    RS_UNROLL
    for (int r = 0; r < 2 * Pairs; ++r) {
      const int tap = j - r + 1;
      if (tap < 0 || tap > 3) continue;
      add_scaled(sums[r][0], blur_weight(tap), row[0]);
      add_scaled(sums[r][1], blur_weight(tap), row[1]);
    }
  }
  if (Residual) {
    const Plane<T, V> residual = residual_plane<T, V>(op, n, c);
    RS_UNROLL
    for (int j = -1; j <= Pairs; ++j) {  // low-resolution rows
      Lanes<V> row[2] = {zeros<V>(), zeros<V>()};
      RS_UNROLL
      for (int tap = 0; tap < 3; ++tap) {
        const Lanes<V> value = residual.at(q0 + j, p + tap - 1);
        add_scaled(row[0], up_weight(0, tap), value);
        add_scaled(row[1], up_weight(1, tap), value);
      }
      RS_UNROLL
      for (int r = 0; r < 2 * Pairs; ++r) {
        const int tap = j - r / 2 + 1;
        if (tap < 0 || tap > 2) continue;
        add_scaled(sums[r][0], up_weight(r % 2, tap), row[0]);
        add_scaled(sums[r][1], up_weight(r % 2, tap), row[1]);
      }
    }
  }
  const Finish<T, V> finish(op, n, c);
  RS_UNROLL
  for (int r = 0; r < 2 * Pairs; ++r) {
    if (2 * q0 + r >= op.args.height) continue;
    finish(2 * q0 + r, 2 * p, sums[r][0]);
    finish(2 * q0 + r, 2 * p + 1, sums[r][1]);
  }
}

// ---- One pixel of base' and residual', for the tile below.

template <typename T, int V, Geometry G>
RS_INLINE Lanes<V> base_pixel(const Plane<T, V>& base, int y, int x) {
  if (G != Geometry::kUp) return base.at(y, x);
  Lanes<V> sum = zeros<V>();
  RS_UNROLL
  for (int j = 0; j < 4; ++j) {
    RS_UNROLL
    for (int i = 0; i < 4; ++i) {
      add_scaled(sum, blur_weight(j) * blur_weight(i), base.at(y + j - 1, x + i - 1));
    }
  }
  return sum;
}

template <typename T, int V, Geometry G>
RS_INLINE Lanes<V> residual_pixel(const Plane<T, V>& residual, int y, int x) {
  if (G == Geometry::kPoint) return residual.at(y, x);
  Lanes<V> sum = zeros<V>();
  RS_UNROLL
  for (int j = 0; j < 3; ++j) {
    RS_UNROLL
    for (int i = 0; i < 3; ++i) {
      if (G == Geometry::kBox) {
        add_scaled(sum, 1.0f, residual.at(y + j - 1, x + i - 1));
      } else {
        const float weight = up_weight(y % 2, j) * up_weight(x % 2, i);
        add_scaled(sum, weight, residual.at(y / 2 + j - 1, x / 2 + i - 1));
      }
    }
  }
  return sum;
}

}  // namespace rs
