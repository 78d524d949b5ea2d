#include "layers.h"

#include <algorithm>
#include <cmath>

namespace refinestyle::native {
namespace {

constexpr float kActivationGain = 1.41421356f;  // leaky ReLU passes on its positive factors
constexpr float kBlurGain = 1.0f / 16;          // of the taps (1, 3, 3, 1) of both axes, gain 4
// The smallest input of a layer that has enough tiles to make up for the weights of Winograd's
// points, of which there are four times as many.
constexpr int kWinogradFrom = 32;

// [out][in] -> [panels][in_padded][panel].
Floats in_panels(const std::vector<float>& values, int out, int in, int panels, int in_padded,
                 int panel) {
  Floats packed = make_floats(static_cast<std::size_t>(panels) * in_padded * panel);
  for (int o = 0; o < out; ++o) {
    float* to = packed.get() + static_cast<long>(o / panel) * in_padded * panel + o % panel;
    for (int i = 0; i < in; ++i) to[static_cast<long>(i) * panel] = values[static_cast<long>(o) * in + i];
  }
  return packed;
}

Affine affine(const Constants& source, const std::string& name, int channels, int room, int w_dim,
              int panel) {
  Affine built;
  built.panels = room / panel;
  const auto weight = source.take(name + ".weight", {channels, w_dim});
  built.weight = in_panels(weight, channels, w_dim, built.panels, w_dim, panel);
  built.bias = copy(source.take(name + ".bias", {channels}), room);
  return built;
}

void set_tap_sums(Conv& conv, const Taps& taps, int panel) {
  const std::size_t count = static_cast<std::size_t>(conv.in_padded) * conv.out_padded;
  conv.tap_squares = make_floats(count);
  conv.tap_sums = make_floats(count);
  for (int o = 0; o < conv.out; ++o) {
    for (int i = 0; i < conv.in; ++i) {
      const float* tap = taps.at(o, i);
      double sum = 0, squares = 0;
      for (int t = 0; t < Taps::kCount; ++t) {
        sum += tap[t];
        squares += static_cast<double>(tap[t]) * tap[t];
      }
      const long at = place_of(conv, o, i, panel);
      conv.tap_sums[at] = static_cast<float>(sum);
      conv.tap_squares[at] = static_cast<float>(squares);
    }
  }
}

Conv conv(const Constants& source, const std::string& name, int up, int size, int w_dim, int panel) {
  Conv built;
  built.name = name;
  built.size = size;
  const auto& dims = source.dims(name + ".weight");
  if (dims.size() != 4 || dims[2] != 3 || dims[3] != 3) {
    throw BadGraph{"the constant '" + name + ".weight' has another shape", text(dims),
                   "[channels, channels, 3, 3]"};
  }
  const int64_t side = int64_t{up} * size;
  require_limits(name, dims, up == 2 ? 1 : 0, side);
  built.out = static_cast<int>(dims[up == 2]);
  built.in = static_cast<int>(dims[up != 2]);
  const bool large = size >= kWinogradFrom;
  built.algorithm = up == 2 ? (large ? Algorithm::kUpWinograd : Algorithm::kUpDirect)
                            : (large ? Algorithm::kKeepWinograd : Algorithm::kKeepDirect);
  built.gain = kActivationGain * (up == 2 ? kBlurGain : 1);
  set_room(built);
  const auto weight = source.take(name + ".weight", dims);
  const Taps taps{weight.data(), built.in, built.out, up == 2};
  set_weights(built, taps, panel);
  set_tap_sums(built, taps, panel);
  built.affine = affine(source, name + ".affine", built.in, built.in_padded, w_dim, panel);
  const auto noise = source.take(name + ".noise", {side, side});
  built.noise = copy(noise, noise.size(), kActivationGain);
  built.bias = copy(source.take(name + ".bias", {built.out, 1, 1}), built.out_padded,
                    kActivationGain);
  return built;
}

ToRgb torgb(const Constants& source, const std::string& name, int size, int in, int w_dim, int panel) {
  ToRgb built;
  built.size = size;
  built.in = in;
  built.in_padded = padded(in);
  const auto weight = source.take(name + ".weight", {3, in, 1, 1});
  built.weight = make_floats(3L * built.in_padded);
  for (int colour = 0; colour < 3; ++colour) {
    std::copy_n(weight.begin() + static_cast<long>(colour) * in, in,
                built.weight.get() + static_cast<long>(colour) * built.in_padded);
  }
  built.bias = copy(source.take(name + ".bias", {3, 1, 1}), 3);
  built.affine = affine(source, name + ".affine", in, built.in_padded, w_dim, panel);
  return built;
}

// Where each layer finds its latent and its slices of the packed tokens: layer-table order.
void set_offsets(Layers& layers) {
  for (std::size_t n = 0; n < layers.convs.size(); ++n) {
    Conv& conv = layers.convs[n];
    conv.P_offset = layers.sum_out;
    conv.Q_offset = conv.affine.offset = layers.sum_in;
    conv.affine.w_index = static_cast<long>(n);
    layers.sum_out += conv.out;
    layers.sum_in += conv.in;
  }
  layers.style_channels = layers.sum_in;
  for (std::size_t block = 0; block < layers.torgbs.size(); ++block) {
    ToRgb& torgb = layers.torgbs[block];
    torgb.affine.w_index = static_cast<long>(2 * block + 1);
    torgb.affine.offset = layers.style_channels;
    layers.style_channels += torgb.in;
  }
  layers.num_ws = static_cast<int>(layers.convs.size()) + 1;
}

void require_chain(const Layers& layers, int start) {
  int channels = start;
  for (const Conv& conv : layers.convs) {
    if (conv.in != channels) {
      throw BadGraph{"the layer '" + conv.name + "' reads another number of channels",
                     std::to_string(conv.in), std::to_string(channels)};
    }
    channels = conv.out;
  }
}

}  // namespace

Layers build_layers(const Constants& source, int panel) {
  Layers layers;
  const auto& dims = source.dims("const");
  const auto& first = source.dims("b4.conv1.affine.weight");
  if (dims.size() != 3 || dims[1] != 4 || dims[2] != 4 || first.size() != 2) {
    throw BadGraph{"the constant 'const' has another shape", text(dims), "[channels, 4, 4]"};
  }
  if (first[1] % 4 != 0 || std::max(first[1], dims[0]) > kMaxChannels) {
    throw BadGraph{"latents or channels of this size are not supported",
                   text({first[1], dims[0]}),
                   "up to " + std::to_string(kMaxChannels) + ", latents a multiple of 4"};
  }
  layers.w_dim = static_cast<int>(first[1]);
  const auto block_at = [](int size) { return "b" + std::to_string(size); };
  for (int size = 4; size == 4 || source.has_any(block_at(size) + "."); size *= 2) {
    const std::string block = block_at(size);
    if (size > 4) {
      layers.convs.push_back(conv(source, block + ".conv0", 2, size / 2, layers.w_dim, panel));
    }
    layers.convs.push_back(conv(source, block + ".conv1", 1, size, layers.w_dim, panel));
    const int channels = layers.convs.back().out;
    layers.torgbs.push_back(torgb(source, block + ".torgb", size, channels, layers.w_dim, panel));
    layers.size = size;
  }
  const auto start = source.take("const", dims);
  const int channels = static_cast<int>(dims[0]), room = padded(channels);
  require_chain(layers, channels);
  layers.start = make_floats(16L * room);
  for (int pixel = 0; pixel < 16; ++pixel) {
    for (int c = 0; c < channels; ++c) layers.start[pixel * room + c] = start[c * 16 + pixel];
  }
  set_offsets(layers);
  return layers;
}

}  // namespace refinestyle::native
