#include "engines/native_engine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "engines/failure.h"
#include "engines/native_networks.h"
#include "native/synthesis.h"

namespace refinestyle {
namespace {

// What is compiled for every machine computes four numbers at once; other engines do better.
constexpr const char* kSlowInstructions = "baseline";

struct Port {
  const char* name;
  Shape shape;  // -1: the rank, known only at run time
};

std::shared_ptr<const native::Layers> layers_of(const Bytes& graph) {
  const native::Constants constants(graph.data(), graph.size());
  return std::make_shared<const native::Layers>(
      native::build_layers(constants, native::kernels()->panel));
}

class NativeEngine final : public Engine {
 public:
  NativeEngine(const Graph& graph, const EngineOptions& options)
      : label_(graph.label), networks_(layers_of(graph.bytes), *native::kernels(), options) {
    const native::Layers& layers = networks_.layers();
    size_ = layers.size;
    ports_ = {Port{"w_plus", {1, layers.num_ws, layers.w_dim}},
              Port{"P", {1, -1, layers.sum_out}}, Port{"Q", {1, -1, layers.sum_in}},
              Port{"style_offset", {1, layers.style_channels}},
              Port{"modulation", {1, layers.sum_in}}};
  }

  Tensors run(const Views& inputs) override {
    check(inputs);
    const auto floats = [&](const char* name) {
      return static_cast<const float*>(inputs.at(name).data);
    };
    try {
      Tensor image(DType::kUint8, {1, size_, size_, 3});
      Tensor image_float(DType::kFloat32, {1, 3, size_, size_});
      Tensor finite(DType::kUint8, {1});
      const Synthesis::Borrowed network(networks_);
      network->run({floats("w_plus"), floats("P"), floats("Q"), floats("style_offset"),
                    floats("modulation"), static_cast<int>(inputs.at("P").shape[1])},
                   {image_float.data<float>(), image.data<std::uint8_t>(),
                    finite.data<std::uint8_t>()});
      Tensors outputs;
      outputs.emplace(kFinite, std::move(finite));
      outputs.emplace("image", std::move(image));
      outputs.emplace("image_float", std::move(image_float));
      return outputs;
    } catch (...) {
      throw_not_run(label_);
    }
  }

 private:
  using Synthesis = Networks<native::Synthesis, native::Layers>;

  void check(const Views& inputs) const {
    std::string own, given;
    bool same = inputs.size() == ports_.size();
    for (const Port& port : ports_) {
      same = same && inputs.count(port.name) != 0;
      own += (own.empty() ? "" : ", ") + std::string(port.name);
    }
    for (const auto& [name, view] : inputs) given += (given.empty() ? "" : ", ") + name;
    if (!same) throw wrong_inputs(label_, own, given);
    const Shape& P = inputs.at("P").shape;
    const std::int64_t rank = P.size() > 1 && P[1] > 0 && P[1] <= kMaxRank ? P[1] : 1;
    for (const Port& port : ports_) {
      const TensorView& view = inputs.at(port.name);
      Shape expected = port.shape;
      std::replace(expected.begin(), expected.end(), std::int64_t{-1}, rank);
      if (view.dtype == DType::kFloat32 && view.shape == expected) continue;
      throw Error(Status::kIncompatible,
                  "the native engine cannot run the graph '" + label_ + "': input " + port.name,
                  std::string(dtype_name(view.dtype)) + " " + to_text(view.shape),
                  "float32 " + to_text(expected));
    }
  }

  static constexpr std::int64_t kMaxRank = 1 << 30;

  std::string label_;
  Synthesis networks_;
  std::int64_t size_ = 0;
  std::array<Port, 5> ports_;
};

}  // namespace

bool native_is_fast() { return std::strcmp(native::kernels()->name, kSlowInstructions) != 0; }

std::unique_ptr<Engine> open_native(const Graph& graph, const EngineOptions& options) {
  try {
    return std::make_unique<NativeEngine>(graph, options);
  } catch (...) {
    throw_not_opened(graph.label);
  }
}

}  // namespace refinestyle
