// Picks the instance of the kernel for one call and runs it: CUDA blocks, or loops on the host.
//
//   nvcc -std=c++17 -O3 -shared -Xcompiler -fPIC -arch=sm_90 launch.cu -o librefined_conv.so
//   g++  -std=c++17 -O2 -shared -fPIC -x c++ launch.cu -o librefined_conv_host.so
#include <cstddef>
#include <type_traits>
#include <vector>

#include "tile.cuh"

// What tuning varies.
#ifndef RS_POINT_ROWS
#define RS_POINT_ROWS 4
#endif
#ifndef RS_BOX_ROWS
#define RS_BOX_ROWS 2
#endif
#ifndef RS_UP_PAIRS
#define RS_UP_PAIRS 2
#endif
#ifndef RS_UP_VECTOR
#define RS_UP_VECTOR 4
#endif
#ifndef RS_COLUMN_BLOCKS
#define RS_COLUMN_BLOCKS 2
#endif

namespace rs {
namespace {

constexpr int kColumnThreads = 256;
// Enough threads to hide memory latency on a large GPU; below it, a thread takes fewer rows. Small
// on the host, where small tests shall come both ways.
#if defined(__CUDACC__)
constexpr std::int64_t kBusyThreads = 1 << 17;
#else
constexpr std::int64_t kBusyThreads = 100;
#endif

int divide_up(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

template <int V, int Rows>
struct ColumnGrid {
  int across;  // columns times channel groups: the threads of one row
  int down, samples;

  explicit ColumnGrid(const Operator& op) {
    const bool up = op.args.geometry == RS_UP;
    across = (up ? op.args.width / 2 : op.args.width) * (op.args.channels / V);
    down = divide_up(up ? op.args.height / 2 : op.args.height, Rows);
    samples = op.args.batch;
  }
};

template <typename T, int V, int Rows, Geometry G, bool Residual>
RS_INLINE void column_thread(const Operator& op, int n, int i, int row) {
  const int columns = G == Geometry::kUp ? op.args.width / 2 : op.args.width;
  const int groups = op.args.channels / V;
  const bool last = op.args.layout == RS_CHANNELS_LAST;
  const int c = (last ? i % groups : i / columns) * V;
  const int x = last ? i / groups : i % columns;
  if constexpr (G == Geometry::kUp) {
    up_column<T, V, Rows, Residual>(op, n, c, x, row * Rows);
  } else {
    column<T, V, Rows, G, Residual>(op, n, c, x, row * Rows);
  }
}

RS_INLINE TilePlace tile_place(const Operator& op, int tile, int c0, int n) {
  const int across = (op.args.width + kTileColumns - 1) / kTileColumns;
  return {n, c0, tile / across * kTileRows, tile % across * kTileColumns};
}

#if defined(__CUDACC__)

template <typename T, int V, int Rows, Geometry G, bool Residual>
__global__ void __launch_bounds__(kColumnThreads, RS_COLUMN_BLOCKS) column_kernel(const __grid_constant__ Operator op,
                                                                int across) {
  const int i = blockIdx.x * kColumnThreads + threadIdx.x;
  if (i < across) column_thread<T, V, Rows, G, Residual>(op, blockIdx.z, i, blockIdx.y);
}

template <typename T, int Channels>
struct DeviceSums {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  static constexpr bool kTensor = !std::is_same<T, float>::value;
#else
  static constexpr bool kTensor = std::is_same<T, Half>::value;
#endif
  using type = typename std::conditional<kTensor, TensorSums<T, Channels>,
                                         LaneSums<T, Channels>>::type;
};

template <typename T, int V, int Channels, Geometry G>
__global__ void __launch_bounds__(kThreads) tile_kernel(const __grid_constant__ Operator op) {
  using Work = Tile<T, V, Channels, G>;
  __shared__ alignas(32) unsigned char memory[sizeof(Shared<T, Channels>)];
  Shared<T, Channels>& shared = *reinterpret_cast<Shared<T, Channels>*>(memory);
  const TilePlace at = tile_place(op, blockIdx.x, blockIdx.y * Channels, blockIdx.z);
  typename DeviceSums<T, Channels>::type sums;
  sums.clear();
  for (int k0 = 0; k0 < op.args.rank; k0 += kDepth) {
    Work::fill(op, at, k0, threadIdx.x, shared);
    __syncthreads();
    Work::multiply(shared, threadIdx.x, sums);
    __syncthreads();
  }
  Work::spill(shared, threadIdx.x, sums);
  __syncthreads();
  Work::finish(op, at, threadIdx.x, shared);
}

int launched() { return cudaPeekAtLastError() == cudaSuccess ? RS_OK : RS_LAUNCH_FAILED; }

template <typename T, int V, int Rows, Geometry G, bool Residual>
int run_column(const Operator& op, void* stream) {
  const ColumnGrid<V, Rows> grid(op);
  const dim3 blocks(divide_up(grid.across, kColumnThreads), grid.down, grid.samples);
  column_kernel<T, V, Rows, G, Residual>
      <<<blocks, kColumnThreads, 0, static_cast<cudaStream_t>(stream)>>>(op, grid.across);
  return launched();
}

template <typename T, int V, int Channels, Geometry G>
int run_tile(const Operator& op, void* stream) {
  const int tiles =
      divide_up(op.args.width, kTileColumns) * divide_up(op.args.height, kTileRows);
  const dim3 blocks(tiles, divide_up(op.args.channels, Channels), op.args.batch);
  tile_kernel<T, V, Channels, G>
      <<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(op);
  return launched();
}

#else

template <typename T, int V, int Rows, Geometry G, bool Residual>
int run_column(const Operator& op, void*) {
  const ColumnGrid<V, Rows> grid(op);
  for (int n = 0; n < grid.samples; ++n) {
    for (int row = 0; row < grid.down; ++row) {
      for (int i = 0; i < grid.across; ++i) {
        column_thread<T, V, Rows, G, Residual>(op, n, i, row);
      }
    }
  }
  return RS_OK;
}

template <typename T, int V, int Channels, Geometry G>
void run_block(const Operator& op, const TilePlace& at, Shared<T, Channels>& shared,
               LaneSums<T, Channels>* sums) {
  using Work = Tile<T, V, Channels, G>;
  for (int thread = 0; thread < kThreads; ++thread) sums[thread].clear();
  for (int k0 = 0; k0 < op.args.rank; k0 += kDepth) {
    for (int thread = 0; thread < kThreads; ++thread) Work::fill(op, at, k0, thread, shared);
    for (int thread = 0; thread < kThreads; ++thread) {
      Work::multiply(shared, thread, sums[thread]);
    }
  }
  for (int thread = 0; thread < kThreads; ++thread) Work::spill(shared, thread, sums[thread]);
  for (int thread = 0; thread < kThreads; ++thread) Work::finish(op, at, thread, shared);
}

template <typename T, int V, int Channels, Geometry G>
int run_tile(const Operator& op, void*) {
  static thread_local Shared<T, Channels> shared;
  static thread_local LaneSums<T, Channels> sums[kThreads];
  const int tiles =
      divide_up(op.args.width, kTileColumns) * divide_up(op.args.height, kTileRows);
  for (int n = 0; n < op.args.batch; ++n) {
    for (int c0 = 0; c0 < op.args.channels; c0 += Channels) {
      for (int tile = 0; tile < tiles; ++tile) {
        run_block<T, V, Channels, G>(op, tile_place(op, tile, c0, n), shared, sums);
      }
    }
  }
  return RS_OK;
}

#endif

// Rows of a thread: where neighbours are shared more rows save reads, until registers run out.
template <int V, Geometry G>
constexpr int kRows = V == 1                  ? 1
                      : G == Geometry::kPoint ? RS_POINT_ROWS
                      : G == Geometry::kBox   ? RS_BOX_ROWS
                                              : RS_UP_PAIRS;

template <typename T, int V, Geometry G, bool Residual>
int pick_rows(const Operator& op, void* stream) {
  constexpr int rows = kRows<V, G>;
  const ColumnGrid<V, rows> grid(op);
  if (std::int64_t(grid.across) * grid.down * grid.samples >= kBusyThreads) {
    return run_column<T, V, rows, G, Residual>(op, stream);
  }
  return run_column<T, V, 1, G, Residual>(op, stream);
}

// Vectors of channels need them to be neighbours in memory; all else goes one by one.
bool vectors_fit(const RsRefineEpilogue& a, int width) {
  const auto bits = reinterpret_cast<std::uintptr_t>(a.base) |
                    reinterpret_cast<std::uintptr_t>(a.residual) |
                    reinterpret_cast<std::uintptr_t>(a.P) |
                    reinterpret_cast<std::uintptr_t>(a.demodulation) |
                    reinterpret_cast<std::uintptr_t>(a.bias) |
                    reinterpret_cast<std::uintptr_t>(a.out);
  return a.layout == RS_CHANNELS_LAST && a.channels % width == 0 &&
         (a.P == nullptr || a.rank % width == 0) && bits % 16 == 0;
}

template <typename T, Geometry G, bool Residual>
int pick_column(const Operator& op, void* stream) {
  // An up column keeps two pixels a row, so four channels of each fill the registers.
  constexpr int widest = G == Geometry::kUp && sizeof(T) == 2 ? RS_UP_VECTOR : 16 / sizeof(T);
  if (vectors_fit(op.args, widest)) return pick_rows<T, widest, G, Residual>(op, stream);
  return pick_rows<T, 1, G, Residual>(op, stream);
}

template <typename T, Geometry G>
int pick_terms(const Operator& op, void* stream) {
  if (op.args.residual == nullptr) return pick_column<T, G, false>(op, stream);
  if (op.args.P == nullptr) return pick_column<T, G, true>(op, stream);
  constexpr int widest = 16 / sizeof(T);
  if (!vectors_fit(op.args, widest)) return run_tile<T, 1, 64, G>(op, stream);
  if (op.args.channels <= 32) return run_tile<T, widest, 32, G>(op, stream);
  return run_tile<T, widest, 64, G>(op, stream);
}

template <typename T>
int pick_geometry(const Operator& op, void* stream) {
  switch (op.args.geometry) {
    case RS_POINT:
      return pick_terms<T, Geometry::kPoint>(op, stream);
    case RS_BOX:
      return pick_terms<T, Geometry::kBox>(op, stream);
    default:
      return pick_terms<T, Geometry::kUp>(op, stream);
  }
}

bool valid(const RsRefineEpilogue& a) {
  const bool sizes = a.batch > 0 && a.batch <= 65535 && a.channels > 0 && a.height > 0 &&
                     a.width > 0 && a.height <= 65535 && a.rank >= 0;
  if (!sizes || a.base == nullptr || a.out == nullptr) return false;
  if (a.geometry < RS_POINT || a.geometry > RS_UP) return false;
  if (a.layout != RS_CHANNELS_FIRST && a.layout != RS_CHANNELS_LAST) return false;
  if (a.geometry == RS_UP && (a.height % 2 != 0 || a.width % 2 != 0)) return false;
  if (a.residual == nullptr ? a.P != nullptr : (a.P != nullptr) != (a.rank > 0)) return false;
  if (a.noise != nullptr && a.noise_batch != 1 && a.noise_batch != a.batch) return false;
  // A sample's pixels are indexed with 32 bits.
  const std::int64_t deepest = a.rank > a.channels ? a.rank : a.channels;
  return deepest * (a.height + 1) * (a.width + 1) <= INT32_MAX;
}

}  // namespace
}  // namespace rs

extern "C" int rs_refine_epilogue(const RsRefineEpilogue* args, void* stream) {
  if (args == nullptr || !rs::valid(*args)) return RS_INVALID_ARGUMENT;
  const rs::Operator op = rs::make_operator(*args);
  switch (args->dtype) {
    case RS_FLOAT16:
      return rs::pick_geometry<rs::Half>(op, stream);
#ifndef RS_ONLY_HALF
    case RS_FLOAT32:
      return rs::pick_geometry<float>(op, stream);
    case RS_BFLOAT16:
      return rs::pick_geometry<rs::BFloat16>(op, stream);
#endif
    default:
      return RS_INVALID_ARGUMENT;
  }
}
