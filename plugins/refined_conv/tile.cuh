// The low-rank product Pᵀ t' inside the kernel: a block owns 64 pixels times `Channels` channels.
//
// Per slice of kDepth ranks the block filters t into shared memory (phase fill), then every warp
// multiplies its 16 pixels by the slice of P (phase multiply); last the sums go through shared
// memory to the threads that finish them (phases spill and finish). fp16 and bf16 multiply on
// tensor cores with fp32 sums, fp32 on the ordinary units.
#pragma once

#include "kernel.cuh"

#if defined(__CUDACC__)
#include <mma.h>
#endif

namespace rs {

constexpr int kTileColumns = 16, kTileRows = 4, kTilePixels = 64;
constexpr int kDepth = 32, kThreads = 128, kWarps = 4;

// Rows padded against bank conflicts; the tensor cores' loads want multiples of 32 bytes.
constexpr int kRowA = kDepth + 8;
template <int Channels>
constexpr int kRowB = Channels + 8;
template <int Channels>
constexpr int kRowC = Channels + 4;

template <typename T, int Channels>
union Shared {
  struct {
    T a[kTilePixels * kRowA];
    T b[kDepth * kRowB<Channels>];
  } slice;
  float sums[kTilePixels * kRowC<Channels>];
};

// A warp's 16 pixels x Channels sums, on the ordinary units: a lane has half a pixel's channels.
template <typename T, int Channels>
struct LaneSums {
  float v[Channels / 2];

  RS_INLINE void clear() {
    RS_UNROLL
    for (int i = 0; i < Channels / 2; ++i) v[i] = 0.0f;
  }
  RS_INLINE void multiply(const T* a, const T* b, int lane) {
    for (int k = 0; k < kDepth; ++k) {
      const float scale = to_float(a[lane % 16 * kRowA + k]);
      const T* row = b + k * kRowB<Channels> + lane / 16 * (Channels / 2);
      RS_UNROLL
      for (int i = 0; i < Channels / 2; ++i) v[i] += scale * to_float(row[i]);
    }
  }
  RS_INLINE void spill(float* sums, int lane) const {
    float* row = sums + lane % 16 * kRowC<Channels> + lane / 16 * (Channels / 2);
    RS_UNROLL
    for (int i = 0; i < Channels / 2; ++i) row[i] = v[i];
  }
};

#if defined(__CUDACC__)
// The same on tensor cores; all lanes of the warp call together.
template <typename T, int Channels>
struct TensorSums {
  nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float> v[Channels / 16];

  __device__ void clear() {
    RS_UNROLL
    for (int i = 0; i < Channels / 16; ++i) nvcuda::wmma::fill_fragment(v[i], 0.0f);
  }
  __device__ void multiply(const T* a, const T* b, int) {
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, T, row_major> left;
    fragment<matrix_b, 16, 16, 16, T, row_major> right;
    RS_UNROLL
    for (int k = 0; k < kDepth; k += 16) {
      load_matrix_sync(left, a + k, kRowA);
      RS_UNROLL
      for (int i = 0; i < Channels / 16; ++i) {
        load_matrix_sync(right, b + k * kRowB<Channels> + 16 * i, kRowB<Channels>);
        mma_sync(v[i], left, right, v[i]);
      }
    }
  }
  __device__ void spill(float* sums, int) const {
    RS_UNROLL
    for (int i = 0; i < Channels / 16; ++i) {
      nvcuda::wmma::store_matrix_sync(sums + 16 * i, v[i], kRowC<Channels>,
                                      nvcuda::wmma::mem_row_major);
    }
  }
};
#endif

// Where a block works: its first pixel, first channel and sample.
struct TilePlace {
  int n, c0, y0, x0;
};

template <typename T, int V, int Channels, Geometry G>
struct Tile {
  // Item i of `inner` things a pixel; neighbouring threads touch neighbouring memory.
  struct Item {
    int pixel, inner;
  };
  static RS_INLINE Item item(const Operator& op, int i, int inner) {
    if (op.args.layout == RS_CHANNELS_LAST) return {i / inner, i % inner};
    return {i % kTilePixels, i / kTilePixels};
  }

  static RS_INLINE void fill(const Operator& op, const TilePlace& at, int k0, int thread,
                             Shared<T, Channels>& shared) {
    for (int i = thread; i < kTilePixels * kDepth / V; i += kThreads) {
      const Item it = item(op, i, kDepth / V);
      const int y = at.y0 + it.pixel / kTileColumns, x = at.x0 + it.pixel % kTileColumns;
      const int k = k0 + it.inner * V;
      Lanes<V> value = zeros<V>();
      if (k < op.args.rank && y < op.args.height && x < op.args.width) {
        value = residual_pixel<T, V, G>(residual_plane<T, V>(op, at.n, k), y, x);
      }
      store<T, V>(&shared.slice.a[it.pixel * kRowA + it.inner * V], value);
    }
    for (int i = thread; i < kDepth * Channels / V; i += kThreads) {
      const int row = i / (Channels / V), column = i % (Channels / V) * V;
      const int k = k0 + row, c = at.c0 + column;
      Lanes<V> value = zeros<V>();
      if (k < op.args.rank && c < op.args.channels) {
        const std::int64_t sample = std::int64_t(at.n) * op.args.rank + k;
        value = load<T, V>(static_cast<const T*>(op.args.P) + sample * op.args.channels + c);
      }
      store<T, V>(&shared.slice.b[row * kRowB<Channels> + column], value);
    }
  }

  template <typename Sums>
  static RS_INLINE void multiply(const Shared<T, Channels>& shared, int thread, Sums& sums) {
    sums.multiply(shared.slice.a + thread / 32 * 16 * kRowA, shared.slice.b, thread % 32);
  }

  template <typename Sums>
  static RS_INLINE void spill(Shared<T, Channels>& shared, int thread, const Sums& sums) {
    sums.spill(shared.sums + thread / 32 * 16 * kRowC<Channels>, thread % 32);
  }

  static RS_INLINE void finish(const Operator& op, const TilePlace& at, int thread,
                               const Shared<T, Channels>& shared) {
    for (int i = thread; i < kTilePixels * Channels / V; i += kThreads) {
      const Item it = item(op, i, Channels / V);
      const int y = at.y0 + it.pixel / kTileColumns, x = at.x0 + it.pixel % kTileColumns;
      const int c = at.c0 + it.inner * V;
      if (c >= op.args.channels || y >= op.args.height || x >= op.args.width) continue;
      Lanes<V> sum = base_pixel<T, V, G>(base_plane<T, V>(op, at.n, c), y, x);
      RS_UNROLL
      for (int j = 0; j < V; ++j) {
        sum.v[j] += shared.sums[it.pixel * kRowC<Channels> + it.inner * V + j];
      }
      Finish<T, V>(op, at.n, c)(y, x, sum);
    }
  }
};

}  // namespace rs
