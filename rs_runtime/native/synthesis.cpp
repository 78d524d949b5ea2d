#include "synthesis.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "plan.h"

namespace refinestyle::native {
namespace {

constexpr int kRowsOfBlur = 4, kRowsOfStep = 16;  // that a thread takes at once

struct Rows {
  const float* data;
  long row;  // floats from a row to the next
};

// What a kernel of ones is at a weight point.
float box_at(Algorithm algorithm, int weight) {
  const int distinct = shape_of(algorithm).distinct;
  const double(*points)[3] = weights_of(algorithm);
  const auto sum = [&](int p) { return points[p][0] + points[p][1] + points[p][2]; };
  return static_cast<float>(sum(weight / distinct) * sum(weight % distinct));
}

// The same rows [rank][channels] with zeros behind their channels, as the inner loops read them:
// whole panels.
Rows with_padding(const Rows& rows, int rank, int channels, int room, Buffer& buffer) {
  if (channels == room) return rows;
  const std::size_t needed = static_cast<std::size_t>(rank) * room;
  if (needed > buffer.size) buffer = {make_floats(needed), needed};
  for (int l = 0; l < rank; ++l) {
    float* line = buffer.floats.get() + static_cast<long>(l) * room;
    std::copy_n(rows.data + l * rows.row, channels, line);
    std::fill(line + channels, line + room, 0.0f);
  }
  return {buffer.floats.get(), room};
}

}  // namespace

Synthesis::Synthesis(std::shared_ptr<const Layers> layers, const Kernels& kernels, int threads)
    : shared_(std::move(layers)),
      layers_(*shared_),
      kernels_(kernels),
      pool_(threads),
      products_(kernels_, pool_) {
  reserve();
}

void Synthesis::reserve() {
  const int threads = pool_.threads();
  std::size_t change[2] = {}, d[2] = {}, kernels[2] = {};
  std::size_t unblurred = 0, ring = 0, maps = map_floats(4, layers_.convs[0].in_padded);
  std::vector<const Filter*> filters;
  const auto grow = [](std::size_t& room, std::size_t needed) { room = std::max(room, needed); };
  for (std::size_t n = 0; n < layers_.convs.size(); ++n) {
    const Conv& conv = layers_.convs[n];
    styles_.push_back({make_floats(conv.in_padded), make_floats(conv.in_padded),
                       make_floats(conv.in_padded)});
    const std::size_t weights = static_cast<std::size_t>(conv.in_padded) * conv.out_padded;
    const bool up = is_up(conv.algorithm);
    filters.push_back(&conv);
    grow(change[up], weights);
    grow(d[up], conv.out_padded);
    if (conv.resident) grow(kernels[up], distinct_of(conv) * weights);
    if (up) grow(unblurred, floats_of(unblurred_map(conv, threads, nullptr)));
    if (up && fused(conv, layers_.convs[n + 1])) {
      grow(ring, floats_of(ring_map(conv, threads, nullptr)));
    } else if (n + 1 < layers_.convs.size()) {
      grow(maps, map_floats(up ? 2 * conv.size : conv.size, conv.out_padded));
    }
  }
  products_.reserve(filters);
  for (const ToRgb& torgb : layers_.torgbs) {
    torgb_styles_.push_back(make_floats(torgb.in_padded));
    torgb_weights_.push_back(make_floats(3L * torgb.in_padded));
  }
  for (int i = 0; i < 2; ++i) {
    refined_[i] = {make_floats(change[i]), make_floats(d[i]), make_floats(kernels[i])};
  }
  unblurred_ = make_floats(unblurred);
  ring_ = make_floats(ring);
  for (Floats& map : maps_) map = make_floats(maps);
  for (Floats& picture : pictures_) picture = make_floats(3L * layers_.size * layers_.size / 4);
}

bool Synthesis::run(const Inputs& inputs, const Outputs& outputs, const int32_t* stop) {
  const std::lock_guard<std::mutex> lock(running_);
  set_styles(inputs);
  map_ = 0;
  const Map start = whole_map(maps_[map_].get(), 4, layers_.convs[0].in_padded);
  for (int r = 0; r < 4; ++r) {
    std::copy_n(layers_.start.get() + 4L * r * start.pixel, 4 * start.pixel, start.at(r, 0));
  }
  const float* picture = nullptr;
  const int blocks = static_cast<int>(layers_.torgbs.size());
  for (int block = 0; block < blocks; ++block) {
    if (stop != nullptr && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0) return false;
    float* larger = block + 1 == blocks ? outputs.image_float : pictures_[block % 2].get();
    draw_block(block, inputs, picture, larger);
    picture = larger;
  }
  std::atomic<bool> finite{true};
  pool_.each(ceil_div(layers_.size, kRowsOfStep), [&](int i, int) {
    const int row = i * kRowsOfStep, row_end = std::min(row + kRowsOfStep, layers_.size);
    const bool own =
        kernels_.to_bytes(outputs.image_float, layers_.size, row, row_end, outputs.image);
    if (!own) finite = false;
  });
  *outputs.finite = finite;
  return true;
}

// Runs the layers of a block on the map at hand, and adds to the picture.
void Synthesis::draw_block(int block, const Inputs& inputs, const float* picture, float* larger) {
  const Conv& last = layers_.convs[2 * block];
  const ToRgb& torgb = layers_.torgbs[block];
  const int side = side_tiles(last), size = last.size;
  const Rgb rgb{torgb_weights_[block].get(), torgb.in_padded, larger, size,
                static_cast<long>(size) * size};
  enlarge(picture, torgb, larger);
  refine(last, inputs);
  // The last map is read by its toRGB layer alone, which is done along with it.
  const bool needed = block + 1 < static_cast<int>(layers_.torgbs.size());
  const auto result_in = [&](int which) {
    map_ = which;
    return needed ? whole_map(maps_[which].get(), size, last.out_padded) : Map{};
  };
  const auto draw = [&](const Map& from, const Map& y, int row, int row_end) {
    keep(last, from, needed ? &y : nullptr, rgb, row, row_end);
  };
  const int own = map_, other = 1 - map_;
  if (block == 0) {
    const Map x = map_in(maps_[own].get(), size, last.in_padded);
    return draw(x, result_in(other), 0, side);
  }
  const Conv& first = layers_.convs[2 * block - 1];
  const Map x = map_in(maps_[own].get(), first.size, first.in_padded);
  refine(first, inputs);
  if (!fused(first, last)) {
    const Map between = whole_map(maps_[other].get(), size, last.in_padded);
    up(first, x, between, [](int) {});
    return draw(between, result_in(own), 0, side);  // over x, which nobody reads any more
  }
  const Map between = ring_map(first, pool_.threads(), ring_.get());
  clear_sides(between, size, between.mask + 1);
  const Map y = result_in(other);
  int done = 0;
  up(first, x, between, [&](int rows) {
    const bool all = rows == size;
    if (all) clear_slot(between, (size + kBorder) & between.mask);
    // A tile reads one row below its own.
    const int end = all ? side : (rows - 1) / shape_of(last.algorithm).step;
    draw(between, y, done, end);
    done = end;
  });
}

void Synthesis::set_styles(const Inputs& inputs) {
  const int convs = static_cast<int>(layers_.convs.size());
  const auto style = [&](const Affine& affine, int channels, float* styles) {
    kernels_.affine(inputs.w_plus + affine.w_index * layers_.w_dim, affine.weight.get(),
                    affine.bias.get(), layers_.w_dim, affine.panels, styles);
    for (int c = 0; c < channels; ++c) styles[c] += inputs.style_offset[affine.offset + c];
  };
  pool_.each(convs + static_cast<int>(layers_.torgbs.size()), [&](int i, int) {
    if (i < convs) {
      const Conv& conv = layers_.convs[i];
      Styles& own = styles_[i];
      style(conv.affine, conv.in, own.style.get());
      for (int c = 0; c < conv.in; ++c) {
        own.modulation[c] = inputs.modulation[conv.Q_offset + c];
        own.gain[c] = own.style[c] * own.modulation[c];
      }
      return;
    }
    const ToRgb& torgb = layers_.torgbs[i - convs];
    float* weight = torgb_weights_[i - convs].get();
    float* styles = torgb_styles_[i - convs].get();
    style(torgb.affine, torgb.in, styles);
    for (long at = 0; at < 3L * torgb.in_padded; ++at) {
      weight[at] = torgb.weight[at] * styles[at % torgb.in_padded];
    }
  });
}

// Sets what `refined_` holds of a layer.
void Synthesis::refine(const Conv& conv, const Inputs& inputs) {
  const Styles& own = styles_[&conv - layers_.convs.data()];
  Refined& made = refined_[is_up(conv.algorithm)];
  const int panel = kernels_.panel, panels = conv.out_padded / panel;
  const long a_panel = static_cast<long>(conv.in_padded) * panel;
  const Rows P = with_padding({inputs.P + conv.P_offset, layers_.sum_out}, inputs.rank, conv.out,
                              conv.out_padded, P_);
  const Rows Q = with_padding({inputs.Q + conv.Q_offset, layers_.sum_in}, inputs.rank, conv.in,
                              conv.in_padded, Q_);
  pool_.each(panels, [&](int n, int) {
    float* change = made.change.get() + n * a_panel;
    float* d = made.d.get() + n * panel;
    kernels_.residual({P.data + n * panel, Q.data, P.row, Q.row, inputs.rank, conv.in_padded,
                       own.style.get(), own.modulation.get(), conv.tap_squares.get() + n * a_panel,
                       conv.tap_sums.get() + n * a_panel, conv.gain},
                      change, d);
    if (!conv.resident) return;
    for (int weight = 0; weight < distinct_of(conv); ++weight) {
      const long at = (static_cast<long>(weight) * panels + n) * a_panel;
      kernels_.materialise(conv.weights.get() + at, change, own.gain.get(), d,
                           box_at(conv.algorithm, weight), conv.in_padded,
                           made.kernels.get() + at);
    }
  });
}

// A layer's refined kernels: those that `refine` made, or made when they are used.
KernelSource Synthesis::kernels_of(const Conv& conv) {
  const Styles& own = styles_[&conv - layers_.convs.data()];
  const Refined& made = refined_[is_up(conv.algorithm)];
  if (conv.resident) return {1, [&](int, int, float*) { return made.kernels.get(); }};
  return {1, [&](int weight, int panel, float* room) {
            const long panels = conv.out_padded / kernels_.panel;
            const long a_panel = static_cast<long>(conv.in_padded) * kernels_.panel;
            kernels_.materialise(conv.weights.get() + (weight * panels + panel) * a_panel,
                                 made.change.get() + panel * a_panel, own.gain.get(),
                                 made.d.get() + panel * kernels_.panel,
                                 box_at(conv.algorithm, weight), conv.in_padded, room);
            return room;
          }};
}

// Rows [row, row_end) of tiles of a size-keeping layer.
void Synthesis::keep(const Conv& conv, const Map& x, const Map* y, const Rgb& rgb, int row,
                     int row_end) {
  const Epilogue epilogue{conv.bias.get(), conv.noise.get(), conv.size};
  const int side = side_tiles(conv), end = row_end * side;
  const int step = conv.resident ? end : chunk_tiles(conv);
  for (int first = row * side; first < end; first += step) {
    const auto inverse = [&](const float* M, const Tiles& tiles) {
      kernels_.inverse_keep(conv.algorithm, M, conv.out_padded / kBlock, tiles, epilogue, y, rgb);
    };
    products_.run(conv, x, first, std::min(step, end - first), kernels_of(conv), inverse);
  }
}

// An up layer, band by band; `ready` is told after each how many rows of y are done.
void Synthesis::up(const Conv& conv, const Map& x, const Map& y,
                   const std::function<void(int)>& ready) {
  const Epilogue epilogue{conv.bias.get(), conv.noise.get(), 2L * conv.size};
  const Map unblurred = unblurred_map(conv, pool_.threads(), unblurred_.get());
  clear_slot(unblurred, 0);
  for (long slot = 0; slot <= unblurred.mask; ++slot) {
    std::memset(unblurred.data + slot * unblurred.row, 0, unblurred.pixel * sizeof(float));
  }
  const int out = shape_of(conv.algorithm).out, side = side_tiles(conv), size = 2 * conv.size;
  const int band = band_rows(conv, pool_.threads());
  int done = 0;
  for (int row = 0; row < side; row += band) {
    const int row_end = std::min(row + band, side);
    const auto inverse = [&](const float* M, const Tiles& tiles) {
      kernels_.inverse_up(conv.algorithm, M, conv.out_padded / kBlock, tiles, unblurred);
    };
    products_.run(conv, x, row * side, (row_end - row) * side, kernels_of(conv), inverse);
    // A blurred row reads two rows below its own.
    const int end = std::min(out * row_end - 2, size);
    pool_.each(ceil_div(end - done, kRowsOfBlur), [&](int i, int) {
      const int from = done + i * kRowsOfBlur;
      kernels_.blur(unblurred, epilogue, y, from, std::min(from + kRowsOfBlur, end), size);
    });
    done = end;
    ready(done);
  }
}

// The picture of the block before at twice its size, or nothing, and the bias.
void Synthesis::enlarge(const float* picture, const ToRgb& torgb, float* larger) {
  const int size = torgb.size;
  if (picture == nullptr) {
    for (int colour = 0; colour < 3; ++colour) {
      std::fill_n(larger + static_cast<long>(colour) * size * size, size * size,
                  torgb.bias[colour]);
    }
    return;
  }
  pool_.each(ceil_div(size, kRowsOfStep), [&](int i, int) {
    const int row = i * kRowsOfStep;
    kernels_.upsample(picture, size / 2, torgb.bias.get(), row, std::min(row + kRowsOfStep, size),
                      larger);
  });
}

}  // namespace refinestyle::native
