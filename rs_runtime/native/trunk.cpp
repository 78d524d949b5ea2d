#include "trunk.h"

#include <algorithm>
#include <cmath>

#include "plan.h"

namespace refinestyle::native {
namespace {

constexpr int kRowsOfStep = 4;  // that a thread takes at once

// Runs work(row) for rows of a map, some at once.
template <class Work>
void rows(Pool& pool, int count, const Work& work) {
  pool.each(ceil_div(count, kRowsOfStep), [&](int i, int) {
    const int end = std::min((i + 1) * kRowsOfStep, count);
    for (int row = i * kRowsOfStep; row < end; ++row) work(row);
  });
}

}  // namespace

Trunk::Trunk(std::shared_ptr<const TrunkLayers> layers, const Kernels& kernels, int threads)
    : shared_(std::move(layers)),
      layers_(*shared_),
      kernels_(kernels),
      pool_(threads),
      products_(kernels_, pool_) {
  std::vector<const Filter*> filters{&layers_.input};
  const std::size_t first = map_floats(layers_.size, layers_.input.out_padded);
  std::size_t smaller = 0, between = map_floats(layers_.size, layers_.input.in_padded);
  std::size_t normalised = first, sums = 0, channels = 0;
  for (const Unit& unit : layers_.units) {
    filters.insert(filters.end(), {&unit.first, &unit.second});
    if (unit.projected) filters.push_back(&unit.projection);
    const int size = unit.first.size / unit.stride;
    between = std::max(between, map_floats(unit.first.size, unit.first.out_padded));
    smaller = std::max(smaller, map_floats(size, unit.second.out_padded));
    normalised = std::max(normalised, map_floats(size, unit.second.out_padded));
    sums = std::max(sums, static_cast<std::size_t>(size) * unit.second.out_padded);
    channels = std::max<std::size_t>(channels, unit.second.out_padded);
  }
  products_.reserve(filters);
  maps_[0] = make_floats(std::max(first, smaller));
  maps_[1] = make_floats(smaller);
  normalised_ = make_floats(normalised);
  between_ = make_floats(between);
  after_ = make_floats(smaller);
  sums_ = make_floats(sums);
  gate_ = make_floats(channels);
}

std::array<int, 3> Trunk::channels(const TrunkLayers& layers) {
  std::array<int, 3> channels{};
  for (std::size_t tap = 0; tap < channels.size(); ++tap) {
    channels[tap] = layers.units[kEnds[tap] - 1].second.out;
  }
  return channels;
}

bool Trunk::run(const float* picture, const std::array<float*, 3>& taps, const int32_t* stop) {
  const std::lock_guard<std::mutex> lock(running_);
  const PlainConv& input = layers_.input;
  const Map read_map = whole_map(between_.get(), layers_.size, input.in_padded);
  read(picture, read_map);
  Map x = map_in(maps_[0].get(), layers_.size, input.out_padded);
  const Unit& first = layers_.units[0];
  const Normalised norm{first.scale.get(), first.shift.get(),
                        whole_map(normalised_.get(), layers_.size, input.out_padded)};
  convolve(input, read_map, x, &norm);
  int tap = 0;
  for (std::size_t index = 0; index < layers_.units.size(); ++index) {
    if (stop != nullptr && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0) return false;
    run_unit(index, x);
    if (index + 1 == kEnds[tap]) {
      const PlainConv& last = layers_.units[index].second;
      write(x, last.size / layers_.units[index].stride, last.out, taps[tap++]);
    }
  }
  return true;
}

// Runs a unit on x, which becomes its output, and leaves that normalised for the next one.
void Trunk::run_unit(std::size_t index, Map& x) {
  const Unit& unit = layers_.units[index];
  const int size = unit.first.size, smaller = size / unit.stride, channels = unit.second.out_padded;
  const Map normalised = map_in(normalised_.get(), size, unit.first.in_padded);
  const Map between = whole_map(between_.get(), size, channels);
  convolve(unit.first, normalised, between, nullptr);
  const Map after = map_in(after_.get(), smaller, channels);
  convolve(unit.second, between, after, nullptr);
  const float* gate = gate_of(unit, after);
  // Over x itself, unless the map becomes smaller.
  Map y = x, shortcut = x;
  if (unit.stride == 2) {
    const bool in_first = x.data == maps_[0].get();
    y = map_in(maps_[in_first ? 1 : 0].get(), smaller, channels);
  }
  if (unit.projected) {
    convolve(unit.projection, x, y, nullptr);
    shortcut = y;
  }
  const int step = unit.projected ? 1 : unit.stride;
  const bool is_last = index + 1 == layers_.units.size();
  Normalised norm{};
  if (!is_last) {
    const Unit& next = layers_.units[index + 1];
    norm = {next.scale.get(), next.shift.get(), whole_map(normalised_.get(), smaller, channels)};
  }
  rows(pool_, smaller, [&](int row) {
    kernels_.gate(after, gate, shortcut, step, y, is_last ? nullptr : &norm, row, smaller);
  });
  x = y;
}

void Trunk::convolve(const PlainConv& conv, const Map& x, const Map& y, const Normalised* norm) {
  const int panels = conv.out_padded / kernels_.panel, distinct = shape_of(conv.algorithm).distinct;
  const long a_panel = static_cast<long>(conv.in_padded) * kernels_.panel;
  const KernelSource source{
      conv.in_columns ? distinct : 1, [&](int weight, int panel, float* room) -> const float* {
        if (!conv.in_columns) return conv.weights.get();
        const long row = weight / distinct;
        kernels_.finish(conv.algorithm, conv.weights.get() + (row * panels + panel) * 3 * a_panel,
                        conv.in_padded, room);
        return room;
      }};
  const PlainEpilogue epilogue{conv.bias.get(), conv.slope.get()};
  const int side = side_tiles(conv), all = side * side;
  const int step = conv.resident ? all : chunk_tiles(conv);
  for (int first = 0; first < all; first += step) {
    products_.run(conv, x, first, std::min(step, all - first), source,
                  [&](const float* M, const Tiles& tiles) {
                    kernels_.inverse_plain(conv.algorithm, M, conv.out_padded / kBlock, tiles,
                                           epilogue, y, norm);
                  });
  }
}

// The gate of a unit's output x: squeeze and excitation, [C] in (0, 1).
const float* Trunk::gate_of(const Unit& unit, const Map& x) {
  const int size = unit.second.size / unit.stride, channels = unit.second.out;
  const long room = unit.second.out_padded;
  rows(pool_, size, [&](int row) { kernels_.sum_row(x, row, size, sums_.get() + row * room); });
  // In one order whatever the number of threads, so that pictures are always the same.
  std::vector<float> mean(channels), squeezed(unit.squeezed);
  for (int row = 0; row < size; ++row) {
    for (int c = 0; c < channels; ++c) mean[c] += sums_[row * room + c];
  }
  const float area = static_cast<float>(size) * static_cast<float>(size);
  for (int s = 0; s < unit.squeezed; ++s) {
    float sum = 0;
    const float* weights = unit.reduce.data() + static_cast<long>(s) * channels;
    for (int c = 0; c < channels; ++c) sum += weights[c] * mean[c];
    squeezed[s] = std::max(sum / area, 0.0f);
  }
  for (int c = 0; c < channels; ++c) {
    float sum = 0;
    const float* weights = unit.expand.data() + static_cast<long>(c) * unit.squeezed;
    for (int s = 0; s < unit.squeezed; ++s) sum += weights[s] * squeezed[s];
    gate_[c] = 1 / (1 + std::exp(-sum));
  }
  return gate_.get();
}

// [in][size][size] -> a map.
void Trunk::read(const float* picture, const Map& x) {
  const int size = layers_.size;
  const long plane = static_cast<long>(size) * size;
  rows(pool_, size, [&](int row) {
    for (int column = 0; column < size; ++column) {
      float* to = x.at(row, column);
      std::fill_n(to, x.pixel, 0.0f);
      const float* from = picture + static_cast<long>(row) * size + column;
      for (int c = 0; c < layers_.in; ++c) to[c] = from[c * plane];
    }
  });
}

// A map -> [channels][size][size].
void Trunk::write(const Map& x, int size, int channels, float* tap) {
  const long plane = static_cast<long>(size) * size;
  rows(pool_, size, [&](int row) {
    float* to = tap + static_cast<long>(row) * size;
    for (int c = 0; c < channels; ++c) {
      const float* from = x.at(row, 0) + c;
      for (int column = 0; column < size; ++column) to[c * plane + column] = from[column * x.pixel];
    }
  });
}

}  // namespace refinestyle::native
