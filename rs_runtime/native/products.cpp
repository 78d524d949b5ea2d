#include "products.h"

#include <algorithm>

#include "plan.h"

namespace refinestyle::native {
namespace {

constexpr int kHalf = kGroup / 2;  // tiles

// Calls use(point) for the points that have a weight.
template <class Use>
void points_with(const AlgorithmShape& shape, int weight, const Use& use) {
  const int row = weight / shape.distinct, column = weight % shape.distinct;
  const int last = shape.distinct - 1;
  const int rows = row == last ? shape.points - last : 1;
  const int columns = column == last ? shape.points - last : 1;
  for (int p = row; p < row + rows; ++p) {
    for (int q = column; q < column + columns; ++q) use(p * shape.points + q);
  }
}

}  // namespace

void Products::reserve(const std::vector<const Filter*>& filters) {
  std::size_t V = 0, M = 0, own_V = 0, own_M = 0, kernels = 0;
  const auto grow = [](std::size_t& room, std::size_t needed) { room = std::max(room, needed); };
  for (const Filter* filter : filters) {
    const std::size_t points = points_of(*filter);
    if (filter->resident) {
      grow(own_V, points * block_tiles(*filter) * filter->in_padded);
      grow(own_M, points * block_tiles(*filter) * filter->out_padded);
    } else {
      // An up layer's band is a row of tiles at least.
      const int side = side_tiles(*filter), all = ceil_div(side * side, kGroup) * kGroup;
      const std::size_t tiles = std::max(std::min(chunk_tiles(*filter), all), side + kGroup);
      const std::size_t at_once = filter->in_columns ? shape_of(filter->algorithm).distinct : 1;
      grow(V, points * tiles * filter->in_padded);
      grow(M, points * tiles * filter->out_padded);
      grow(kernels, at_once * filter->in_padded * kernels_.panel);
    }
  }
  V_ = make_floats(V);
  M_ = make_floats(M);
  scratch_.resize(pool_.threads());
  for (Scratch& own : scratch_) own = {make_floats(own_V), make_floats(own_M), make_floats(kernels)};
}

void Products::run(const Filter& filter, const Map& x, int first, int count,
                   const KernelSource& source, const Inverse& inverse) {
  if (filter.resident) {
    by_block(filter, x, first, count, source.make(0, 0, nullptr), inverse);
  } else {
    by_panel(filter, x, first, count, source, inverse);
  }
}

// The kernels stay, the tiles come by: each thread takes blocks of tiles through all steps.
void Products::by_block(const Filter& filter, const Map& x, int first, int count,
                        const float* kernels, const Inverse& inverse) {
  // As many blocks for each thread: with few tiles smaller ones.
  const int blocks = ceil_div(ceil_div(count, block_tiles(filter)), pool_.threads()) * pool_.threads();
  const int step = ceil_div(count, blocks), panels = filter.out_padded / kernels_.panel;
  const long a_panel = static_cast<long>(filter.in_padded) * kernels_.panel;
  pool_.each(ceil_div(count, step), [&](int i, int thread) {
    float *V = scratch_[thread].V.get(), *M = scratch_[thread].M.get();
    const Tiles tiles{first + i * step, std::min(step, count - i * step), side_tiles(filter),
                      ceil_div(step, kGroup)};
    kernels_.forward(filter.algorithm, x, tiles, filter.in_padded / kBlock, V);
    for (int weight = 0; weight < distinct_of(filter); ++weight) {
      for (int n = 0; n < panels; ++n) {
        const long at = (static_cast<long>(weight) * panels + n) * a_panel;
        multiply(filter, weight, n, kernels + at, V, M, tiles);
      }
    }
    inverse(M, tiles);
  });
}

// The tiles stay, the kernels come by: each thread makes some of a panel and uses them at once.
void Products::by_panel(const Filter& filter, const Map& x, int first, int count,
                        const KernelSource& source, const Inverse& inverse) {
  const int panels = filter.out_padded / kernels_.panel;
  const long a_panel = static_cast<long>(filter.in_padded) * kernels_.panel;
  const Tiles all{first, count, side_tiles(filter), ceil_div(count, kGroup)};
  // Half a group for a thread at once, so that they end at about the same time.
  const auto each_half = [&](const auto& work) {
    pool_.each(2 * all.groups, [&](int i, int) {
      const int group = i / 2, from = i % 2 * kHalf, begin = group * kGroup + from;
      const int end = std::min(count, group * kGroup + (i % 2 ? kGroup : kHalf));
      if (begin < end) work(group, from, Tiles{first + begin, end - begin, all.per_row, all.groups});
    });
  };
  each_half([&](int group, int from, const Tiles& tiles) {
    const long at = static_cast<long>(group) * kGroup * filter.in_padded + from * kBlock;
    kernels_.forward(filter.algorithm, x, tiles, filter.in_padded / kBlock, V_.get() + at);
  });
  pool_.each(distinct_of(filter) / source.count * panels, [&](int i, int thread) {
    const int weight = i / panels * source.count, n = i % panels;
    const float* made = source.make(weight, n, scratch_[thread].kernels.get());
    for (int k = 0; k < source.count; ++k) {
      multiply(filter, weight + k, n, made + k * a_panel, V_.get(), M_.get(), all);
    }
  });
  each_half([&](int group, int from, const Tiles& tiles) {
    inverse(M_.get() + static_cast<long>(group) * kGroup * filter.out_padded + from * kBlock, tiles);
  });
}

// One panel of the products of all points that have a weight.
void Products::multiply(const Filter& filter, int weight, int panel, const float* kernel,
                        const float* V, float* M, const Tiles& tiles) {
  const int blocks = filter.in_padded / kBlock, out_blocks = filter.out_padded / kBlock;
  const long room = static_cast<long>(tiles.groups) * kGroup;
  points_with(shape_of(filter.algorithm), weight, [&](int point) {
    kernels_.multiply(kernel, blocks, V + point * room * filter.in_padded, tiles.count,
                      M + point * room * filter.out_padded, out_blocks, panel);
  });
}

}  // namespace refinestyle::native
