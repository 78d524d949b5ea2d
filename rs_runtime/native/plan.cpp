#include "plan.h"

#include <algorithm>
#include <cstring>

namespace refinestyle::native {
namespace {

// Of the values of one block of tiles, which stay in a core's cache.
constexpr long kBlockBytes = 500000;
// Of the transformed values of a chunk of tiles.
constexpr long kChunkBytes = 20000000;
constexpr int kBlocksOfThread = 8;  // in a band: so that threads end at about the same time
constexpr int kBorderAfter = 4;     // zeros behind a map that a tile may read

long power_of_two(long least) {
  long power = 1;
  while (power < least) power *= 2;
  return power;
}

// Floats from a row of a layer's map to the next.
long map_row(int size, int channels) {
  return static_cast<long>(size + kBorder + kBorderAfter) * channels;
}

}  // namespace

int points_of(const Filter& filter) {
  const int points = shape_of(filter.algorithm).points;
  return points * points;
}

int distinct_of(const Filter& filter) {
  const int distinct = shape_of(filter.algorithm).distinct;
  return distinct * distinct;
}

int block_tiles(const Filter& filter) {
  const long group = 4L * points_of(filter) * kGroup * (filter.in_padded + filter.out_padded);
  return kGroup * static_cast<int>(std::max(1L, kBlockBytes / group));
}

int chunk_tiles(const Filter& filter) {
  const long group = 4L * points_of(filter) * kGroup * filter.in_padded;
  return kGroup * static_cast<int>(std::max(1L, kChunkBytes / group));
}

int side_tiles(const Filter& filter) {
  return filter.size / shape_of(filter.algorithm).step + (is_up(filter.algorithm) ? 1 : 0);
}

int band_rows(const Filter& up, int threads) {
  const int side = side_tiles(up);
  const int rows = up.resident ? ceil_div(kBlocksOfThread * threads * block_tiles(up), side)
                                 : chunk_tiles(up) / side;
  return std::clamp(rows, 1, side);
}

std::size_t floats_of(const Map& map) { return static_cast<std::size_t>(map.row) * (map.mask + 1); }

Map unblurred_map(const Filter& up, int threads, float* data) {
  const AlgorithmShape shape = shape_of(up.algorithm);
  const long slots = power_of_two(static_cast<long>(shape.out) * band_rows(up, threads) + 4);
  const long row = (static_cast<long>(shape.out) * side_tiles(up) + 1) * up.out_padded;
  return {data, row, up.out_padded, slots - 1};
}

std::size_t map_floats(int size, int channels) {
  return static_cast<std::size_t>(map_row(size, channels)) * (size + kBorder + kBorderAfter);
}

Map ring_map(const Filter& up, int threads, float* data) {
  const int out = shape_of(up.algorithm).out;
  const long slots = power_of_two(static_cast<long>(out) * band_rows(up, threads) + 8);
  return {data, map_row(2 * up.size, up.out_padded), up.out_padded, slots - 1};
}

bool fused(const Filter& up, const Filter& keep) { return up.resident && keep.resident; }

void clear_slot(const Map& map, long slot) {
  std::memset(map.data + slot * map.row, 0, map.row * sizeof(float));
}

void clear_sides(const Map& map, int size, long slots) {
  clear_slot(map, 0);
  const long after = static_cast<long>(size + kBorder) * map.pixel;
  for (long slot = 0; slot < slots; ++slot) {
    float* line = map.data + slot * map.row;
    std::memset(line, 0, map.pixel * sizeof(float));
    std::memset(line + after, 0, (map.row - after) * sizeof(float));
  }
}

Map map_in(float* buffer, int size, int channels) {
  return {buffer, map_row(size, channels), channels, -1};
}

Map whole_map(float* buffer, int size, int channels) {
  const Map map = map_in(buffer, size, channels);
  clear_sides(map, size, size + kBorder);
  for (int r = size; r < size + kBorderAfter; ++r) clear_slot(map, r + kBorder);
  return map;
}

}  // namespace refinestyle::native
