#include "engines/native_encoder.h"

#include <array>
#include <utility>

#include "engines/cut.h"
#include "engines/failure.h"
#include "engines/native_networks.h"
#include "native/trunk.h"

namespace refinestyle {
namespace {

constexpr const char* kImage = "image";
constexpr const char* kPicture = "trunk.picture";
// Maps that a trunk ends in, and how much smaller than the picture they are.
constexpr const char* kTaps[] = {"trunk.quarter", "trunk.eighth", "trunk.sixteenth"};
constexpr std::int64_t kSteps[] = {4, 8, 16};

// The side of the pictures that an encoder reads; 0 where no trunk could read them.
int picture_side(const Shapes& inputs) {
  const auto image = inputs.find(kImage);
  if (image == inputs.end() || image->second.size() < 2) return 0;
  const std::int64_t side = image->second[1];
  return side == static_cast<int>(side) ? static_cast<int>(side) : 0;
}

std::shared_ptr<const native::TrunkLayers> layers_of(const Graph& graph) {
  const native::Constants constants(graph.bytes.data(), graph.bytes.size());
  return std::make_shared<const native::TrunkLayers>(
      native::build_trunk(constants, picture_side(graph.shapes), native::kernels()->panel));
}

class NativeEncoder final : public Engine {
 public:
  NativeEncoder(const Graph& graph, const EngineOptions& options, const OpenPart& open_part)
      : label_(graph.label), trunks_(layers_of(graph), *native::kernels(), options) {
    const native::TrunkLayers& layers = trunks_.layers();
    picture_ = {1, layers.in, layers.size, layers.size};
    const std::array<int, 3> channels = native::Trunk::channels(layers);
    for (std::size_t tap = 0; tap < channels.size(); ++tap) {
      const std::int64_t side = layers.size / kSteps[tap];
      taps_[kTaps[tap]] = {1, channels[tap], side, side};
    }
    // One after the other: each has a copy of its weights until it is open.
    const auto open = [&](const char* where, const Shapes& given, const Shapes& wanted,
                          const Shapes& inputs) {
      return open_part({label_ + ", " + where + " its trunk", cut(graph.bytes, given, wanted),
                        graph.precision, inputs, graph.engine, graph.bundle});
    };
    before_ = open("before", {}, {{kPicture, picture_}}, graph.shapes);
    after_ = open("after", taps_, {}, taps_);
  }

  Tensors run(const Views& inputs) override {
    const Tensors taps = run_trunk(before_->run(inputs));
    Views views;
    for (const auto& [name, tap] : taps) views.emplace(name, tap.view());
    return after_->run(views);
  }

 private:
  using Trunks = Networks<native::Trunk, native::TrunkLayers>;

  Tensors run_trunk(const Tensors& before) {
    const Tensor& picture = checked_picture(before);
    try {
      Tensors taps;
      for (const auto& [name, shape] : taps_) taps.emplace(name, Tensor(DType::kFloat32, shape));
      const auto floats = [&](int tap) { return taps.at(kTaps[tap]).data<float>(); };
      const Trunks::Borrowed trunk(trunks_);
      trunk->run(picture.data<float>(), {floats(0), floats(1), floats(2)});
      return taps;
    } catch (...) {
      throw_not_run(label_);
    }
  }

  const Tensor& checked_picture(const Tensors& before) const {
    const auto picture = before.find(kPicture);
    std::string found;
    if (picture != before.end()) {
      const auto& [dtype, shape, bytes] = picture->second;
      if (dtype == DType::kFloat32 && shape == picture_) return picture->second;
      found = std::string(dtype_name(dtype)) + " " + to_text(shape);
    }
    throw Error(Status::kIncompatible,
                "the native engine cannot run the graph '" + label_ + "': " + kPicture, found,
                "float32 " + to_text(picture_));
  }

  std::string label_;
  Trunks trunks_;
  Shape picture_;
  Shapes taps_;
  std::unique_ptr<Engine> before_, after_;
};

}  // namespace

std::unique_ptr<Engine> open_native_encoder(const Graph& graph, const EngineOptions& options,
                                            const OpenPart& open_part) {
  try {
    return std::make_unique<NativeEncoder>(graph, options, open_part);
  } catch (...) {
    throw_not_opened(graph.label);
  }
}

}  // namespace refinestyle
