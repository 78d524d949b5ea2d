// How a run is cut into pieces, and the maps that they need.
//
//     block    tiles that one thread takes through all steps, while the kernels stay in its cache
//     chunk    tiles that the kernels come by for, where these do not
//     band     rows of tiles of an up layer that are computed before the blur follows
#pragma once

#include <cstddef>

#include "filters.h"
#include "kernels.h"

namespace refinestyle::native {

constexpr int kBorder = 1;  // rows and columns of zeros before a map

inline int ceil_div(long a, long b) { return static_cast<int>((a + b - 1) / b); }

int points_of(const Filter& filter);    // of both axes
int distinct_of(const Filter& filter);  // weights among them

// Whole groups of tiles.
int block_tiles(const Filter& filter);
int chunk_tiles(const Filter& filter);

// Tiles along one side. An up layer's output has a row and a column more before the blur.
int side_tiles(const Filter& filter);
int band_rows(const Filter& up, int threads);

// Whether the layers of a block pass their maps on band by band, which stays in the cache.
bool fused(const Filter& up, const Filter& keep);

// Floats that a map takes.
std::size_t floats_of(const Map& map);
std::size_t map_floats(int size, int channels);

// What an up layer writes before the blur: the rows of a band and those that the blur reads again.
Map unblurred_map(const Filter& up, int threads, float* data);

// What an up layer writes, if the layer behind it follows band by band.
Map ring_map(const Filter& up, int threads, float* data);

// A whole map in a buffer, as it is there, or with zeros set around it.
Map map_in(float* buffer, int size, int channels);
Map whole_map(float* buffer, int size, int channels);

void clear_slot(const Map& map, long slot);

// Zeros left and right of a map's pixels, and above them.
void clear_sides(const Map& map, int size, long slots);

}  // namespace refinestyle::native
