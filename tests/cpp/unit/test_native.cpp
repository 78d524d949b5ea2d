// The provider "native", of a library that was built with it.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "contracts/error.h"
#include "engines/providers.h"
#include "onnx_bytes.h"
#include "outcome.h"
#include "pipeline/roles.h"

using namespace refinestyle;

namespace {

const Provider& provider(const std::string& name) {
  const auto& all = all_providers();
  return *std::find_if(all.begin(), all.end(), [&](const Provider& own) { return name == own.name; });
}

// A network of 4 x 4 pixels with one channel.
Graph tiny() {
  const std::string graph =
      constant("const", {1, 4, 4}, 1) + constant("b4.conv1.weight", {1, 1, 3, 3}, 0.5f) +
      constant("b4.conv1.affine.weight", {1, 4}, 0) + constant("b4.conv1.affine.bias", {1}, 1) +
      constant("b4.conv1.noise", {4, 4}, 0) + constant("b4.conv1.bias", {1, 1, 1}, 0) +
      constant("b4.torgb.weight", {3, 1, 1, 1}, 0.25f) +
      constant("b4.torgb.affine.weight", {1, 4}, 0) + constant("b4.torgb.affine.bias", {1}, 1) +
      constant("b4.torgb.bias", {3, 1, 1}, 0);
  return {"synthesis", model(graph), "fp32", {}, "native", ""};
}

// Its inputs, and what they are views of.
struct Inputs {
  std::vector<float> zeros = std::vector<float>(100, 0), ones = std::vector<float>(100, 1);
  Views views = {{"w_plus", {DType::kFloat32, {1, 2, 4}, zeros.data()}},
                 {"P", {DType::kFloat32, {1, 3, 1}, zeros.data()}},
                 {"Q", {DType::kFloat32, {1, 3, 1}, zeros.data()}},
                 {"style_offset", {DType::kFloat32, {1, 2}, zeros.data()}},
                 {"modulation", {DType::kFloat32, {1, 1}, ones.data()}}};
};

}  // namespace

TEST_CASE("the native engine runs what has a variant for it, and a companion the rest") {
  Role role;
  for (const char* engine : {"onnxruntime", "openvino", "native"}) {
    role.variants.push_back({engine, engine, "fp16_stored", "plain", 1});
  }
  const Provider& native = provider("native");
  CHECK(choose_variant("synthesis", role, native)->engine == "native");
  const Variant* encoder = choose_variant("base_inverter", role, native);
  CHECK((encoder == nullptr) == companions().empty());
  if (encoder != nullptr) CHECK(encoder->engine == "native");
  role.variants.pop_back();
  CHECK(choose_variant("synthesis", role, native) == nullptr);
  const Variant* other = choose_variant("mapping", role, native);
  if (companions().empty()) {
    CHECK(other == nullptr);
  } else {
    CHECK(other->engine == companions().front());
    role.variants.resize(1);
    const bool there = companions().back() == "onnxruntime";
    CHECK((choose_variant("mapping", role, native) != nullptr) == there);
  }
  if (native.require != nullptr) {
    const Status expected = companions().empty() ? Status::kResource : Status::kOk;
    CHECK(outcome_of([&] { native.require({}); }) == expected);
  }
}

TEST_CASE("the native engine draws, and says what is wrong with graphs and inputs") {
  const Provider& native = provider("native");
  if (native.open == nullptr) return;
  Graph graph = tiny();
  const auto engine = native.open(graph, {});
  Inputs inputs;
  const Tensors drawn = engine->run(inputs.views);
  CHECK(drawn.at("image").shape == Shape{1, 4, 4, 3});
  REQUIRE(drawn.at("image_float").shape == Shape{1, 3, 4, 4});
  // A pixel in the middle: kernel 0.5 / norm 1.5 over nine ones, sqrt(2), times 0.25.
  const auto* values = drawn.at("image_float").data<float>();
  CHECK(values[5] == doctest::Approx(0.25 * 3 * 1.41421356));
  CHECK(values[0] == doctest::Approx(0.25 * 4 / 3 * 1.41421356));

  const auto refused = [&](const char* name, const TensorView& view) {
    Views wrong = inputs.views;
    wrong.insert_or_assign(name, view);
    return outcome_of([&] { engine->run(wrong); });
  };
  const float* zeros = inputs.zeros.data();
  CHECK(refused("P", {DType::kFloat32, {1, 2, 1}, zeros}) == Status::kIncompatible);
  CHECK(refused("P", {DType::kFloat32, {1, 0, 1}, zeros}) == Status::kIncompatible);
  CHECK(refused("P", {DType::kFloat32, {3}, zeros}) == Status::kIncompatible);
  CHECK(refused("P", {DType::kFloat16, {1, 3, 1}, zeros}) == Status::kIncompatible);
  CHECK(refused("w_plus", {DType::kFloat32, {2, 2, 4}, zeros}) == Status::kIncompatible);
  CHECK(refused("other", {DType::kFloat32, {1, 1}, zeros}) == Status::kIncompatible);

  graph.bytes.pop_back();
  CHECK(outcome_of([&] { native.open(graph, {}); }) == Status::kIncompatible);
  graph.bytes.clear();
  CHECK(outcome_of([&] { native.open(graph, {}); }) == Status::kIncompatible);
}

TEST_CASE("the native engine tells whether its picture is finite") {
  const Provider& native = provider("native");
  if (native.open == nullptr) return;
  const auto engine = native.open(tiny(), {});
  Inputs inputs;
  const auto finite = [&] {
    const Tensors drawn = engine->run(inputs.views);
    const Tensor& told = drawn.at(kFinite);
    REQUIRE(told.shape == Shape{1});
    return int{told.data<std::uint8_t>()[0]};
  };
  CHECK(finite() == 1);
  const float to_colours[] = {0, std::numeric_limits<float>::infinity()};
  inputs.views.insert_or_assign("style_offset", TensorView{DType::kFloat32, {1, 2}, to_colours});
  CHECK(finite() == 0);
  inputs.views.insert_or_assign("style_offset",
                                TensorView{DType::kFloat32, {1, 2}, inputs.zeros.data()});
  CHECK(finite() == 1);
}

TEST_CASE("threads that share a native engine draw what one thread draws") {
  const Provider& native = provider("native");
  if (native.open == nullptr) return;
  for (int own_threads : {1, 2, 0}) {
    EngineOptions options;
    options.threads = own_threads;
    const auto engine = native.open(tiny(), options);
    const Inputs inputs;
    const std::vector<std::byte> expected = engine->run(inputs.views).at("image_float").bytes;
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int times = 0; times < 50; ++times) {
          if (engine->run(inputs.views).at("image_float").bytes != expected) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}
