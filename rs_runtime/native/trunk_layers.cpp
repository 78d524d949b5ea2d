#include "trunk_layers.h"

#include <algorithm>
#include <cmath>

namespace refinestyle::native {
namespace {

constexpr int kUnitsOfStages[] = {3, 4, 14, 3};  // IR-SE50
constexpr float kNormEpsilon = 1e-5f;
// The smallest output of a layer that has enough tiles to make up for the weights of Winograd's
// points.
constexpr int kWinogradFrom = 16;
// Tiles from which on each thread should read all kernels for its share of them, not a share of the
// kernels for all.
constexpr int kResidentFrom = 128;

// kernel: 3, or 1 on every second pixel.
PlainConv conv(const Constants& source, const std::string& name, int kernel, int size, int stride,
               int in, int out, int panel) {
  PlainConv built;
  built.name = name;
  built.size = size;
  const auto weight = source.take(name + ".weight", {out, in, kernel, kernel});
  const bool point = kernel == 1;
  built.in = in;
  built.out = out;
  const int step = shape_of(stride == 2 ? Algorithm::kDownWinograd : Algorithm::kKeepWinograd).step;
  const bool large = size >= kWinogradFrom * stride && size % step == 0;
  if (point) {
    built.algorithm = Algorithm::kDownPoint;
  } else if (stride == 2) {
    built.algorithm = large ? Algorithm::kDownWinograd : Algorithm::kDownDirect;
  } else {
    built.algorithm = large ? Algorithm::kKeepWinograd : Algorithm::kKeepDirect;
  }
  set_room(built);
  const int side_of_tiles = size / shape_of(built.algorithm).step;
  built.resident = built.resident && side_of_tiles * side_of_tiles >= kResidentFrom;
  built.in_columns = !built.resident;
  if (point) {  // in the middle of nine taps
    std::vector<float> taps(Taps::kCount * weight.size());
    for (std::size_t i = 0; i < weight.size(); ++i) {
      taps[Taps::kCount * i + Taps::kCount / 2] = weight[i];
    }
    set_weights(built, {taps.data(), in, out, false}, panel);
  } else {
    set_weights(built, {weight.data(), in, out, false}, panel);
  }
  built.bias = make_floats(built.out_padded);
  if (source.has(name + ".bias")) {
    built.bias = copy(source.take(name + ".bias", {out}), built.out_padded);
  }
  return built;
}

Floats slopes(const Constants& source, const std::string& name, const PlainConv& conv) {
  return copy(source.take(name, {1, conv.out, 1, 1}), conv.out_padded);
}

void set_norm(Unit& unit, const Constants& source, const std::string& name, int channels) {
  const auto part = [&](const char* ending) { return source.take(name + ending, {channels}); };
  const auto weight = part(".weight"), bias = part(".bias");
  const auto mean = part(".mean"), variance = part(".variance");
  unit.scale = make_floats(padded(channels));
  unit.shift = make_floats(padded(channels));
  for (int c = 0; c < channels; ++c) {
    unit.scale[c] = weight[c] / std::sqrt(variance[c] + kNormEpsilon);
    unit.shift[c] = bias[c] - mean[c] * unit.scale[c];
  }
}

Unit unit(const Constants& source, const std::string& name, int size, int stride, int in,
          int panel) {
  Unit built;
  built.stride = stride;
  const auto& dims = source.dims(name + ".conv1.weight");
  require_limits(name + ".conv1", dims, 0, size);
  const int out = static_cast<int>(dims[0]);
  if (stride == 1 && out != in) {  // nothing projects here
    throw BadGraph{"the constant '" + name + ".conv1.weight' has another shape", text(dims),
                   text({in, in, 3, 3})};
  }
  set_norm(built, source, name + ".norm", in);
  built.first = conv(source, name + ".conv1", 3, size, 1, in, out, panel);
  built.first.slope = slopes(source, name + ".slope", built.first);
  built.second = conv(source, name + ".conv2", 3, size, stride, out, out, panel);
  built.projected = in != out;
  if (built.projected) {
    built.projection = conv(source, name + ".projection", 1, size, stride, in, out, panel);
  }
  const auto& squeezed = source.dims(name + ".gate.reduce");
  built.squeezed = squeezed.empty() ? 0 : static_cast<int>(std::min(squeezed[0], kMaxChannels));
  built.reduce = source.take(name + ".gate.reduce", {built.squeezed, out, 1, 1});
  built.expand = source.take(name + ".gate.expand", {out, built.squeezed, 1, 1});
  return built;
}

}  // namespace

TrunkLayers build_trunk(const Constants& source, int size, int panel) {
  if (size < 16 || size % 16 != 0 || size > kMaxSize) {
    throw BadGraph{"the encoder reads pictures of another size", std::to_string(size),
                   "a multiple of 16 up to " + std::to_string(kMaxSize)};
  }
  TrunkLayers layers;
  const auto& dims = source.dims("trunk.input.weight");
  require_limits("trunk.input", dims, 0, size);
  require_limits("trunk.input", dims, 1, size);  // the map that it reads
  layers.size = size;
  layers.in = static_cast<int>(dims[1]);
  const int out = static_cast<int>(dims[0]);
  layers.input = conv(source, "trunk.input", 3, size, 1, layers.in, out, panel);
  layers.input.slope = slopes(source, "trunk.input.slope", layers.input);
  int channels = layers.input.out, side = size;
  for (const int count : kUnitsOfStages) {
    for (int index = 0; index < count; ++index) {
      const std::string name = "trunk.units." + std::to_string(layers.units.size());
      layers.units.push_back(unit(source, name, side, index == 0 ? 2 : 1, channels, panel));
      channels = layers.units.back().second.out;
      if (index == 0) side /= 2;
    }
  }
  return layers;
}

}  // namespace refinestyle::native
