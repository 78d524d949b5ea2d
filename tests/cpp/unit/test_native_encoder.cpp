// The native engine's encoders, on parts that this test makes up.
#ifdef REFINESTYLE_NATIVE
#include "engines/native_encoder.h"

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contracts/error.h"
#include "engines/cut.h"
#include "engines/providers.h"
#include "onnx_bytes.h"
#include "outcome.h"

using namespace refinestyle;

namespace {

constexpr std::int64_t kSide = 16;
const Shape kImage = {1, kSide, kSide, 3}, kPicture = {1, 1, kSide, kSide};

// An IR-SE50 of one channel. Its first convolution adds up nine pixels and halves that; each unit
// adds a bias of 2, of which the gate lets half through.
std::string trunk_constants() {
  std::string all = constant("trunk.input.weight", {1, 1, 3, 3}, 0.5f) +
                    constant("trunk.input.slope", {1, 1, 1, 1}, 1);
  for (int i = 0; i < 24; ++i) {
    const std::string unit = "trunk.units." + std::to_string(i);
    all += constant(unit + ".norm.weight", {1}, 1) + constant(unit + ".norm.bias", {1}, 0) +
           constant(unit + ".norm.mean", {1}, 0) + constant(unit + ".norm.variance", {1}, 1) +
           constant(unit + ".conv1.weight", {1, 1, 3, 3}, 1) +
           constant(unit + ".slope", {1, 1, 1, 1}, 1) +
           constant(unit + ".conv2.weight", {1, 1, 3, 3}, 0) +
           constant(unit + ".conv2.bias", {1}, 2) +
           constant(unit + ".gate.reduce", {1, 1, 1, 1}, 0) +
           constant(unit + ".gate.expand", {1, 1, 1, 1}, 1);
  }
  return all;
}

const std::string kNodes = node({"image", ""}, {"trunk.picture"}) +
                           node({"trunk.picture", "trunk.input.weight"},
                                {"trunk.quarter", "trunk.eighth", "trunk.sixteenth"}) +
                           node({"trunk.quarter", "trunk.eighth", "trunk.sixteenth", "head"},
                                {"w_plus", ""});

Graph encoder(const std::string& nodes = kNodes) {
  const std::string graph = nodes + trunk_constants() + constant("head", {3}, 7) +
                            field(11, field(1, "image")) + field(12, field(1, "w_plus"));
  return {"base_inverter", model(graph), "fp16_stored", {{"image", kImage}}, "native", "here"};
}

// What an engine beside ours does: before the trunk a picture of ones, after it the maps as found.
class Part final : public Engine {
 public:
  explicit Part(Tensors given) : given_(std::move(given)) {}

  Tensors run(const Views& inputs) override {
    if (!given_.empty()) return given_;
    Tensors found;
    for (const auto& [name, view] : inputs) {
      Tensor& copy = found[name] = Tensor(view.dtype, view.shape);
      const auto* bytes = static_cast<const std::byte*>(view.data);
      copy.bytes.assign(bytes, bytes + view.size_bytes());
    }
    return found;
  }

 private:
  Tensors given_;
};

Tensors picture(const Shape& shape = kPicture, DType dtype = DType::kFloat32) {
  Tensors tensors;
  Tensor& ones = tensors["trunk.picture"] = Tensor(dtype, shape);
  if (dtype == DType::kFloat32) {
    for (std::size_t i = 0; i < element_count(shape); ++i) ones.data<float>()[i] = 1;
  }
  return tensors;
}

OpenPart parts(const Tensors& before) {
  return [before](const Graph& part) {
    const bool is_before = part.label.find("before") != std::string::npos;
    return std::make_unique<Part>(is_before ? before : Tensors{});
  };
}

const std::uint8_t kPixels[kSide * kSide * 3] = {};
const Views kInputs = {{"image", {DType::kUint8, kImage, kPixels}}};

std::string failure_of(const Graph& graph, const OpenPart& open_part = parts(picture())) {
  try {
    open_native_encoder(graph, {}, open_part);
  } catch (const Error& error) {
    CHECK(error.status == Status::kIncompatible);
    return error.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an encoder's trunk is computed between the two parts of its graph") {
  const auto engine = open_native_encoder(encoder(), {}, parts(picture()));
  const Tensors taps = engine->run(kInputs);
  REQUIRE(taps.size() == 3);
  const char* names[] = {"trunk.quarter", "trunk.eighth", "trunk.sixteenth"};
  const int units[] = {7, 21, 24};
  for (int tap = 0; tap < 3; ++tap) {
    const std::int64_t side = kSide >> (tap + 2);
    const Tensor& map = taps.at(names[tap]);
    REQUIRE(map.shape == Shape{1, 1, side, side});
    for (std::int64_t i = 0; i < side * side; ++i) {
      // Strides keep the first row and column, where pixels have fewer neighbours.
      const int rows = i < side ? 2 : 3, columns = i % side == 0 ? 2 : 3;
      const double expected = 0.5 * rows * columns + units[tap];
      CHECK(map.data<float>()[i] == doctest::Approx(expected));
    }
  }
}

TEST_CASE("the parts of an encoder are opened without its trunk") {
  std::vector<Graph> opened;
  open_native_encoder(encoder(), {}, [&](Graph part) {
    opened.push_back(std::move(part));
    return std::make_unique<Part>(picture());
  });
  REQUIRE(opened.size() == 2);
  const Shapes taps = {{"trunk.quarter", {1, 1, 4, 4}},
                       {"trunk.eighth", {1, 1, 2, 2}},
                       {"trunk.sixteenth", {1, 1, 1, 1}}};
  CHECK(opened[0].label == "base_inverter, before its trunk");
  CHECK(opened[0].shapes == Shapes{{"image", kImage}});
  CHECK(opened[0].bytes == cut(encoder().bytes, {}, {{"trunk.picture", kPicture}}));
  CHECK(opened[1].label == "base_inverter, after its trunk");
  CHECK(opened[1].shapes == taps);
  CHECK(opened[1].bytes == cut(encoder().bytes, taps, {}));
  for (const Graph& part : opened) {
    CHECK(part.precision == "fp16_stored");
    const std::string text(ByteView(part.bytes).text());
    CHECK(holds(text, "trunk.picture") == (&part == &opened[0]));
    CHECK(holds(text, "head") == (&part == &opened[1]));
    CHECK_FALSE(holds(text, "trunk.input.weight"));
  }
}

TEST_CASE("encoders that our engine cannot run are refused") {
  const std::string start = "the native engine cannot open the graph 'base_inverter': ";
  Graph graph = encoder();
  for (const Shape& image : {Shape{1, 24, 24, 3}, Shape{1, -1, -1, 3}, Shape{1}, Shape{},
                             Shape{1, (std::int64_t{1} << 32) + kSide, kSide, 3}}) {
    graph.shapes = {{"image", image}};
    CHECK(holds(failure_of(graph), start + "the encoder reads pictures of another size"));
  }
  graph = encoder();
  graph.bytes.pop_back();
  CHECK(holds(failure_of(graph), start + "the graph cannot be read"));
  graph.bytes = model(kNodes);
  CHECK(holds(failure_of(graph), start + "the graph has no constant 'trunk.input.weight'"));

  graph = encoder(node({"image"}, {"trunk.quarter", "trunk.eighth", "trunk.sixteenth"}));
  CHECK(holds(failure_of(graph), "the graph has no value 'trunk.picture'"));
  graph = encoder(node({"image"}, {"trunk.picture", "trunk.quarter", "trunk.sixteenth"}));
  CHECK(holds(failure_of(graph), "the graph has no value 'trunk.eighth'"));
  graph = encoder();
  graph.bytes.insert(graph.bytes.end(), {7 << 3 | 2, 0});
  CHECK(holds(failure_of(graph), "2 graphs in a file"));

  const OpenPart refuse = [](const Graph& part) -> std::unique_ptr<Engine> {
    throw Error(Status::kIncompatible, "another engine refuses " + part.label);
  };
  CHECK(holds(failure_of(encoder(), refuse),
              "another engine refuses base_inverter, before its trunk"));
}

TEST_CASE("pictures that are not the trunk's are refused") {
  const auto outcome = [](const Tensors& before) {
    const auto engine = open_native_encoder(encoder(), {}, parts(before));
    return outcome_of([&] { engine->run(kInputs); });
  };
  CHECK(outcome(picture()) == Status::kOk);
  CHECK(outcome(picture({1, 1, kSide, kSide - 1})) == Status::kIncompatible);
  CHECK(outcome(picture({2, 1, kSide, kSide})) == Status::kIncompatible);
  CHECK(outcome(picture(kPicture, DType::kFloat16)) == Status::kIncompatible);
  Tensors others;
  others["others"] = Tensor(DType::kFloat32, kPicture);
  CHECK(outcome(others) == Status::kIncompatible);
}

TEST_CASE("encoders need an engine beside ours") {
  for (const Provider& provider : all_providers()) {
    if (std::string(provider.name) != "native" || !companions().empty()) continue;
    CHECK(outcome_of([&] { provider.open(encoder(), {}); }) == Status::kResource);
  }
}

TEST_CASE("threads that share an encoder find what one thread finds") {
  for (int own_threads : {1, 2, 0}) {
    EngineOptions options;
    options.threads = own_threads;
    const auto engine = open_native_encoder(encoder(), options, parts(picture()));
    const std::vector<std::byte> expected = engine->run(kInputs).at("trunk.quarter").bytes;
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int times = 0; times < 20; ++times) {
          if (engine->run(kInputs).at("trunk.quarter").bytes != expected) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}
#endif
