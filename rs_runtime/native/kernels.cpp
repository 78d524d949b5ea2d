// The inner loops, once for each instruction set: compiled with RS_ISA, its name, and RS_LANES, the
// floats of its vectors. No standard library here: its inline functions would be merged with those
// of other files, and run on machines that lack the instructions.
#include <utility>

#include "kernels.h"

#define RS_STRING_(x) #x
#define RS_STRING(x) RS_STRING_(x)

namespace refinestyle::native::RS_ISA {
namespace {

constexpr int kLanes = RS_LANES;
constexpr int kPanel = 2 * kLanes;      // two vectors of outputs
constexpr int kParts = kBlock / kLanes;  // vectors of a block
// Rows of one product, of two sums each: 26 of 32 registers, or 12 of 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = kGroup;
#else
constexpr int kRows = 6;
#endif

typedef float vec __attribute__((vector_size(4 * RS_LANES)));
typedef float loose __attribute__((vector_size(4 * RS_LANES), aligned(4), may_alias));

inline vec load(const float* at) { return *reinterpret_cast<const vec*>(at); }
inline vec load_loose(const float* at) { return *reinterpret_cast<const loose*>(at); }
inline void store(float* at, vec value) { *reinterpret_cast<vec*>(at) = value; }
inline vec activate(vec x) {
  const vec small = 0.2f * x;
  return x > small ? x : small;
}

#include "transforms.h"

// ------------------------------------------------------------------------------ the transforms

// Where tile t of a block of tiles lies for channel block b of a point.
inline long place(int tile, int blocks, int block) {
  return ((static_cast<long>(tile / kGroup) * blocks + block) * kGroup + tile % kGroup) * kBlock;
}

template <class A>
void forward_by(const Map& x, const Tiles& tiles, int blocks, float* V) {
  constexpr AlgorithmShape s = A::shape;
  const long point = static_cast<long>(tiles.groups) * blocks * kGroup * kBlock;
  for (int t = 0; t < tiles.count; ++t) {
    const int row = (tiles.first + t) / tiles.per_row, column = (tiles.first + t) % tiles.per_row;
    const float* lines[s.in];
    for (int i = 0; i < s.in; ++i) lines[i] = x.at(row * s.step - 1 + i, column * s.step - 1);
    for (int b = 0; b < blocks * kParts; ++b) {
      vec halfway[s.points][s.in];
      for (int j = 0; j < s.in; ++j) {
        vec line[s.in], points[s.points];
        for (int i = 0; i < s.in; ++i) {
          line[i] = load(lines[i] + j * x.pixel + b * kLanes);
        }
        A::forward(line, points);
        for (int p = 0; p < s.points; ++p) halfway[p][j] = points[p];
      }
      float* to = V + place(t, blocks, b / kParts) + b % kParts * kLanes;
      for (int p = 0; p < s.points; ++p) {
        vec points[s.points];
        A::forward(halfway[p], points);
        for (int q = 0; q < s.points; ++q) store(to + (p * s.points + q) * point, points[q]);
      }
    }
  }
}

// The outputs of one tile for one vector of channels, row by row.
template <class A>
inline void inverse_tile(const float* from, long point, vec (*y)[A::shape.out]) {
  constexpr AlgorithmShape s = A::shape;
  vec halfway[s.out][s.points];
  for (int q = 0; q < s.points; ++q) {
    vec line[s.points], outs[s.out];
    for (int p = 0; p < s.points; ++p) line[p] = load(from + (p * s.points + q) * point);
    A::inverse(line, outs);
    for (int i = 0; i < s.out; ++i) halfway[i][q] = outs[i];
  }
  for (int i = 0; i < s.out; ++i) A::inverse(halfway[i], y[i]);
}

// Of every segment of vectors a and b its lower half plus its upper half: those of a segment of a
// and of the same one of b lie side by side.
template <int kSegment, int... kLane>
inline vec fold(vec a, vec b, std::integer_sequence<int, kLane...>) {
  constexpr int half = kSegment / 2;
  const vec lower = __builtin_shufflevector(
      a, b, (kLane / kSegment * kSegment + kLane % half + (kLane % kSegment < half ? 0 : kLanes))...);
  const vec upper = __builtin_shufflevector(
      a, b,
      (kLane / kSegment * kSegment + kLane % half + half + (kLane % kSegment < half ? 0 : kLanes))...);
  return lower + upper;
}

// Lane i of x[0] becomes the sum over the lanes of x[i].
template <int kSegment = kLanes>
inline void sum_lanes(vec* x) {
  constexpr int half = kSegment / 2;
  for (int i = 0; i < half; ++i) {
    x[i] = fold<kSegment>(x[i], x[i + half], std::make_integer_sequence<int, kLanes>());
  }
  if constexpr (half > 1) sum_lanes<half>(x);
}

template <int kPixels>
void add_colours(const vec (*sums)[kPixels], const Rgb& rgb, long first, long row, int side) {
  // Pixels [side][side] of a tile; padded to whole vectors of pixels.
  constexpr int kPadded = (kPixels + kLanes - 1) / kLanes * kLanes;
  for (int colour = 0; colour < 3; ++colour) {
    vec lines[kPadded] = {};
    float totals[kPadded];
    for (int i = 0; i < kPixels; ++i) lines[i] = sums[colour][i];
    for (int i = 0; i < kPadded; i += kLanes) {
      sum_lanes(lines + i);
      *reinterpret_cast<loose*>(totals + i) = lines[i];
    }
    float* to = rgb.planes + colour * rgb.plane + first;
    for (int i = 0; i < kPixels; ++i) to[i / side * row + i % side] += totals[i];
  }
}

template <class A>
void inverse_keep_by(const float* M, int out_blocks, const Tiles& tiles, const Epilogue& epilogue,
                     const Map* y, const Rgb& rgb) {
  constexpr int side = A::shape.out, pixels = side * side;
  const long point = static_cast<long>(tiles.groups) * out_blocks * kGroup * kBlock;
  for (int t = 0; t < tiles.count; ++t) {
    const int row = (tiles.first + t) / tiles.per_row * side;
    const int column = (tiles.first + t) % tiles.per_row * side;
    const float* noise = epilogue.noise + row * epilogue.noise_row + column;
    vec colours[3][pixels] = {};
    for (int b = 0; b < out_blocks * kParts; ++b) {
      vec out[side][side];
      const long from = place(t, out_blocks, b / kParts) + b % kParts * kLanes;
      inverse_tile<A>(M + from, point, out);
      const vec bias = load(epilogue.bias + b * kLanes);
      for (int i = 0; i < side; ++i) {
        for (int j = 0; j < side; ++j) {
          out[i][j] = activate(out[i][j] + noise[i * epilogue.noise_row + j] + bias);
        }
      }
      if (y != nullptr) {
        for (int i = 0; i < side; ++i) {
          float* to = y->at(row + i, column) + b * kLanes;
          for (int j = 0; j < side; ++j) store(to + j * y->pixel, out[i][j]);
        }
      }
      if (rgb.weight == nullptr) continue;
      for (int colour = 0; colour < 3; ++colour) {
        const vec weight = load(rgb.weight + colour * rgb.channels + b * kLanes);
        for (int i = 0; i < pixels; ++i) colours[colour][i] += weight * out[i / side][i % side];
      }
    }
    if (rgb.weight != nullptr) {
      add_colours<pixels>(colours, rgb, row * rgb.row + column, rgb.row, side);
    }
  }
}

template <class A>
void inverse_up_by(const float* M, int out_blocks, const Tiles& tiles, const Map& y) {
  constexpr int side = A::shape.out;
  const long point = static_cast<long>(tiles.groups) * out_blocks * kGroup * kBlock;
  for (int t = 0; t < tiles.count; ++t) {
    const long row = (tiles.first + t) / tiles.per_row * side;
    const long column = (tiles.first + t) % tiles.per_row * side;
    for (int b = 0; b < out_blocks * kParts; ++b) {
      vec out[side][side];
      const long from = place(t, out_blocks, b / kParts) + b % kParts * kLanes;
      inverse_tile<A>(M + from, point, out);
      for (int i = 0; i < side; ++i) {
        float* to = y.at(row + i, column) + b * kLanes;
        for (int j = 0; j < side; ++j) store(to + j * y.pixel, out[i][j]);
      }
    }
  }
}

inline void store_normalised(const Normalised& norm, long row, long column, int b, vec value) {
  store(norm.map.at(row, column) + b * kLanes,
        value * load(norm.scale + b * kLanes) + load(norm.shift + b * kLanes));
}

template <class A>
void inverse_plain_by(const float* M, int out_blocks, const Tiles& tiles,
                      const PlainEpilogue& epilogue, const Map& y, const Normalised* norm) {
  constexpr int side = A::shape.out;
  const long point = static_cast<long>(tiles.groups) * out_blocks * kGroup * kBlock;
  for (int t = 0; t < tiles.count; ++t) {
    const int row = (tiles.first + t) / tiles.per_row * side;
    const int column = (tiles.first + t) % tiles.per_row * side;
    for (int b = 0; b < out_blocks * kParts; ++b) {
      vec out[side][side];
      const long from = place(t, out_blocks, b / kParts) + b % kParts * kLanes;
      inverse_tile<A>(M + from, point, out);
      const vec bias = load(epilogue.bias + b * kLanes);
      const vec slope = epilogue.slope == nullptr ? bias : load(epilogue.slope + b * kLanes);
      for (int i = 0; i < side; ++i) {
        float* to = y.at(row + i, column) + b * kLanes;
        for (int j = 0; j < side; ++j) {
          vec value = out[i][j] + bias;
          if (epilogue.slope != nullptr) value = value > 0 ? value : slope * value;
          store(to + j * y.pixel, value);
          if (norm != nullptr) store_normalised(*norm, row + i, column + j, b, value);
        }
      }
    }
  }
}

void forward(Algorithm algorithm, const Map& x, const Tiles& tiles, int blocks, float* V) {
  switch (algorithm) {
    case Algorithm::kKeepDirect: return forward_by<KeepDirect>(x, tiles, blocks, V);
    case Algorithm::kKeepWinograd: return forward_by<KeepWinograd>(x, tiles, blocks, V);
    case Algorithm::kUpDirect: return forward_by<UpDirect>(x, tiles, blocks, V);
    case Algorithm::kUpWinograd: return forward_by<UpWinograd>(x, tiles, blocks, V);
    case Algorithm::kDownDirect: return forward_by<DownDirect>(x, tiles, blocks, V);
    case Algorithm::kDownWinograd: return forward_by<DownWinograd>(x, tiles, blocks, V);
    case Algorithm::kDownPoint: return forward_by<DownPoint>(x, tiles, blocks, V);
  }
}

void inverse_keep(Algorithm algorithm, const float* M, int out_blocks, const Tiles& tiles,
                  const Epilogue& epilogue, const Map* y, const Rgb& rgb) {
  const auto inverse = algorithm == Algorithm::kKeepDirect ? inverse_keep_by<KeepDirect>
                                                           : inverse_keep_by<KeepWinograd>;
  inverse(M, out_blocks, tiles, epilogue, y, rgb);
}

void inverse_up(Algorithm algorithm, const float* M, int out_blocks, const Tiles& tiles,
                const Map& y) {
  const auto inverse =
      algorithm == Algorithm::kUpDirect ? inverse_up_by<UpDirect> : inverse_up_by<UpWinograd>;
  inverse(M, out_blocks, tiles, y);
}

void inverse_plain(Algorithm algorithm, const float* M, int out_blocks, const Tiles& tiles,
                   const PlainEpilogue& epilogue, const Map& y, const Normalised* norm) {
  const auto by = [&](auto inverse) { inverse(M, out_blocks, tiles, epilogue, y, norm); };
  switch (algorithm) {
    case Algorithm::kKeepDirect:
    case Algorithm::kDownDirect: return by(inverse_plain_by<KeepDirect>);
    case Algorithm::kKeepWinograd: return by(inverse_plain_by<KeepWinograd>);
    case Algorithm::kDownWinograd: return by(inverse_plain_by<DownWinograd>);
    case Algorithm::kDownPoint: return by(inverse_plain_by<DownPoint>);
    case Algorithm::kUpDirect:
    case Algorithm::kUpWinograd: return;
  }
}

// -------------------------------------------------------------------------------- the products

// M of `Rows` tiles of one group.
template <int Rows>
inline void multiply_rows(const float* weights, int blocks, const float* V, float* M, long second) {
  vec sums[Rows][2] = {};
  for (int b = 0; b < blocks; ++b) {
#pragma GCC unroll 4
    for (int k = 0; k < kBlock; ++k) {
      const vec left = load(weights), right = load(weights + kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const float x = V[r * kBlock + k];
        sums[r][0] += x * left;
        sums[r][1] += x * right;
      }
      weights += kPanel;
    }
    V += kGroup * kBlock;
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    store(M + r * kBlock, sums[r][0]);
    store(M + r * kBlock + second, sums[r][1]);
  }
}

template <int Rows>
inline void multiply_rest(int rows, const float* weights, int blocks, const float* V, float* M,
                          long second) {
  if (rows == Rows) return multiply_rows<Rows>(weights, blocks, V, M, second);
  if constexpr (Rows > 1) multiply_rest<Rows - 1>(rows, weights, blocks, V, M, second);
}

void multiply(const float* weights, int blocks, const float* V, int tiles, float* M,
              int out_blocks, int panel) {
  // The panel's two vectors are in one block or in two.
  const int channel = panel * kPanel;
  const long second = kPanel > kBlock ? kGroup * kBlock : kLanes;
  M += static_cast<long>(channel / kBlock) * kGroup * kBlock + channel % kBlock;
  for (int t = 0; t < tiles; t += kGroup) {
    const int in_group = tiles - t < kGroup ? tiles - t : kGroup;
    for (int r = 0; r < in_group; r += kRows) {
      const int rows = in_group - r < kRows ? in_group - r : kRows;
      multiply_rest<kRows>(rows, weights, blocks, V + r * kBlock, M + r * kBlock, second);
    }
    V += static_cast<long>(blocks) * kGroup * kBlock;
    M += static_cast<long>(out_blocks) * kGroup * kBlock;
  }
}

// ------------------------------------------------------------------------ the refined kernels

void residual(const Residual& r, float* change, float* d) {
  vec norm[2] = {};
  constexpr int kStep = 8;
  for (int k = 0; k < r.in; k += kStep) {
    vec sums[kStep][2] = {};
    for (int l = 0; l < r.rank; ++l) {
      const vec left = load_loose(r.P + l * r.ld_P), right = load_loose(r.P + l * r.ld_P + kLanes);
      const float* Q = r.Q + l * r.ld_Q + k;
#pragma GCC unroll 8
      for (int i = 0; i < kStep; ++i) {
        sums[i][0] += Q[i] * left;
        sums[i][1] += Q[i] * right;
      }
    }
    for (int i = 0; i < kStep; ++i) {
      const float s = r.style[k + i], m = r.modulation[k + i];
      for (int v = 0; v < 2; ++v) {
        const long at = static_cast<long>(k + i) * kPanel + v * kLanes;
        const vec dW = sums[i][v];
        // The norm of s W0 + dW over the taps, Eq. 2; 9 taps share dW.
        norm[v] += s * s * load(r.tap_squares + at) +
                   dW * (2 * s * load(r.tap_sums + at) + 9.0f * dW);
        store(change + at, m * dW);
      }
    }
  }
  for (int v = 0; v < 2; ++v) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float sum = norm[v][lane] > 0 ? norm[v][lane] : 0.0f;
      d[v * kLanes + lane] = r.gain / __builtin_sqrtf(sum + 1e-8f);
    }
  }
}

void materialise(const float* weights, const float* change, const float* gain, const float* d,
                 float box, int in, float* kernel) {
  const vec d_left = load(d), d_right = load(d + kLanes);
  const vec box_left = box * d_left, box_right = box * d_right;
  for (int k = 0; k < in; ++k) {
    const long at = static_cast<long>(k) * kPanel;
    store(kernel + at, gain[k] * d_left * load(weights + at) + box_left * load(change + at));
    store(kernel + at + kLanes, gain[k] * d_right * load(weights + at + kLanes) +
                                    box_right * load(change + at + kLanes));
  }
}

template <Algorithm kAlgorithm, int kPoint>
inline void finish_points(const vec* columns, float* kernel, long point) {
  constexpr const double* taps = weights_of(kAlgorithm)[kPoint];
  vec sum = {};
  if constexpr (taps[0] != 0) sum += static_cast<float>(taps[0]) * columns[0];
  if constexpr (taps[1] != 0) sum += static_cast<float>(taps[1]) * columns[1];
  if constexpr (taps[2] != 0) sum += static_cast<float>(taps[2]) * columns[2];
  store(kernel, sum);
  if constexpr (kPoint + 1 < shape_of(kAlgorithm).distinct) {
    finish_points<kAlgorithm, kPoint + 1>(columns, kernel + point, point);
  }
}

template <Algorithm kAlgorithm>
void finish_by(const float* columns, int in, float* kernels) {
  const long a_panel = static_cast<long>(in) * kPanel;
  for (long at = 0; at < a_panel; at += kLanes) {
    const vec own[3] = {load(columns + at), load(columns + a_panel + at),
                        load(columns + 2 * a_panel + at)};
    finish_points<kAlgorithm, 0>(own, kernels + at, a_panel);
  }
}

void finish(Algorithm algorithm, const float* columns, int in, float* kernels) {
  const auto by = [&](auto finish) { finish(columns, in, kernels); };
  switch (algorithm) {
    case Algorithm::kKeepDirect:
    case Algorithm::kDownDirect: return by(finish_by<Algorithm::kKeepDirect>);
    case Algorithm::kKeepWinograd: return by(finish_by<Algorithm::kKeepWinograd>);
    case Algorithm::kUpDirect: return by(finish_by<Algorithm::kUpDirect>);
    case Algorithm::kUpWinograd: return by(finish_by<Algorithm::kUpWinograd>);
    case Algorithm::kDownWinograd: return by(finish_by<Algorithm::kDownWinograd>);
    case Algorithm::kDownPoint: return by(finish_by<Algorithm::kDownPoint>);
  }
}

void affine(const float* x, const float* weights, const float* bias, int in, int panels,
            float* y) {
  for (int panel = 0; panel < panels; ++panel) {
    vec left[4] = {}, right[4] = {};
    for (int k = 0; k < in; k += 4) {
      for (int i = 0; i < 4; ++i) {
        left[i] += x[k + i] * load(weights + (k + i) * kPanel);
        right[i] += x[k + i] * load(weights + (k + i) * kPanel + kLanes);
      }
    }
    const int at = panel * kPanel;
    store(y + at, load(bias + at) + (left[0] + left[1]) + (left[2] + left[3]));
    store(y + at + kLanes,
          load(bias + at + kLanes) + (right[0] + right[1]) + (right[2] + right[3]));
    weights += static_cast<long>(in) * kPanel;
  }
}

// -------------------------------------------------------------------------- after the layers

void blur(const Map& x, const Epilogue& epilogue, const Map& y, int row, int row_end, int width) {
  const int vectors = static_cast<int>(y.pixel / kLanes);
  for (int r = row; r < row_end; ++r) {
    const float* lines[4];
    for (int i = 0; i < 4; ++i) lines[i] = x.at(r - 1 + i, -1);
    const float* noise = epilogue.noise + r * epilogue.noise_row;
    for (int b = 0; b < vectors; ++b) {
      const vec bias = load(epilogue.bias + b * kLanes);
      // Down a column by (1, 3, 3, 1).
      const auto down = [&](int column) {
        const long at = (column + 1) * x.pixel + b * kLanes;
        return load(lines[0] + at) + load(lines[3] + at) +
               3 * (load(lines[1] + at) + load(lines[2] + at));
      };
      vec before = down(-1), here = down(0), next = down(1);
      float* to = y.at(r, 0) + b * kLanes;
      for (int column = 0; column < width; ++column) {
        const vec after = down(column + 2);
        const vec sum = before + after + 3 * (here + next);
        store(to + column * y.pixel, activate(sum + noise[column] + bias));
        before = here, here = next, next = after;
      }
    }
  }
}

void sum_row(const Map& x, int row, int width, float* sums) {
  const int vectors = static_cast<int>(x.pixel / kLanes);
  for (int b = 0; b < vectors; ++b) {
    vec sum = {};
    for (int column = 0; column < width; ++column) sum += load(x.at(row, column) + b * kLanes);
    store(sums + b * kLanes, sum);
  }
}

void gate(const Map& x, const float* gate, const Map& shortcut, int step, const Map& y,
          const Normalised* norm, int row, int width) {
  const int vectors = static_cast<int>(x.pixel / kLanes);
  for (int column = 0; column < width; ++column) {
    const float* from = x.at(row, column);
    const float* direct = shortcut.at(static_cast<long>(step) * row, static_cast<long>(step) * column);
    float* to = y.at(row, column);
    for (int b = 0; b < vectors; ++b) {
      const vec value = load(gate + b * kLanes) * load(from + b * kLanes) + load(direct + b * kLanes);
      store(to + b * kLanes, value);
      if (norm != nullptr) store_normalised(*norm, row, column, b, value);
    }
  }
}

void upsample(const float* picture, int size, const float* bias, int row, int row_end,
              float* larger) {
  const long plane = static_cast<long>(size) * size;
  for (int colour = 0; colour < 3; ++colour) {
    for (int r = row; r < row_end; ++r) {
      // Row r lies between two rows of the picture, three times as near to one of them.
      const int near_row = r / 2, far_row = near_row + (r % 2 ? 1 : -1);
      const float* near_line = picture + colour * plane + static_cast<long>(near_row) * size;
      const bool there = far_row >= 0 && far_row < size;
      const float* far_line = there ? near_line + (far_row - near_row) * static_cast<long>(size)
                                    : near_line;
      const float weight = there ? 1.0f : 0.0f;
      float* to = larger + 4 * colour * plane + static_cast<long>(r) * 2 * size;
      const auto down = [&](int c) { return 3 * near_line[c] + weight * far_line[c]; };
      float before = 0, here = down(0);
      for (int c = 0; c < size; ++c) {
        const float after = c + 1 < size ? down(c + 1) : 0;
        to[2 * c] = bias[colour] + 0.0625f * (3 * here + before);
        to[2 * c + 1] = bias[colour] + 0.0625f * (3 * here + after);
        before = here, here = after;
      }
    }
  }
}

// Whether NaN or an infinity is among them; less itself each is NaN. Apart from the loop that makes
// bytes, or the compiler would make vectors of neither.
int not_finite(const float* values, int count) {
  int found = 0;
  for (int i = 0; i < count; ++i) found |= values[i] - values[i] != 0;
  return found;
}

bool to_bytes(const float* picture, int size, int row, int row_end, uint8_t* bytes) {
  const long plane = static_cast<long>(size) * size;
  int found = 0;
  for (long line = static_cast<long>(row) * size; row < row_end; ++row, line += size) {
    for (int colour = 0; colour < 3; ++colour) {
      found |= not_finite(picture + colour * plane + line, size);
    }
    for (long at = line; at < line + size; ++at) {
      for (int colour = 0; colour < 3; ++colour) {
        float value = (picture[colour * plane + at] + 1) * 127.5f;
        value = value > 0 ? value : 0;  // NaN, too
        value = value < 255 ? value : 255;
        bytes[3 * at + colour] = static_cast<uint8_t>(__builtin_rintf(value));
      }
    }
  }
  return found == 0;
}

}  // namespace

extern const Kernels table;
const Kernels table = {RS_STRING(RS_ISA), kPanel,   forward,     multiply, inverse_keep,
                       inverse_up,        inverse_plain, blur,  residual, materialise,
                       finish,            sum_row,  gate,        affine,   upsample,
                       to_bytes};

}  // namespace refinestyle::native::RS_ISA
