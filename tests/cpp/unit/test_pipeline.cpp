#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "contracts/error.h"
#include "engines/engine.h"
#include "engines/failure.h"
#include "engines/providers.h"
#include "outcome.h"
#include "pipeline/outputs.h"
#include "pipeline/random.h"
#include "pipeline/reconstruction.h"
#include "pipeline/roles.h"

using namespace refinestyle;

namespace {

Variant variant(const char* engine, const char* precision, const char* form, std::int64_t batch) {
  return {std::string(engine) + precision + form, engine, precision, form, batch};
}

const Provider& provider(const std::string& name) {
  for (const Provider& own : all_providers()) {
    if (name == own.name) return own;
  }
  FAIL("no such provider: " << name);
  return all_providers().front();
}

}  // namespace

TEST_CASE("seeds give NumPy's numbers") {
  // numpy.random.RandomState(1234).randn(5)
  const double expected[] = {0.47143516, -1.19097569, 1.43270697, -0.3126519, -0.72058873};
  const std::vector<float> found = standard_normal(1234, 5);
  for (int i = 0; i < 5; ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6));
  CHECK(standard_normal(0, 1)[0] == doctest::Approx(1.76405235).epsilon(1e-6));
}

TEST_CASE("errors are taken at the smaller size, averaged over areas") {
  const std::vector<std::uint8_t> black(2 * 2 * 3, 0), white(2 * 2 * 3, 255);
  CHECK(mean_squared_error(black.data(), 2, white.data(), 2) == doctest::Approx(4));
  std::vector<std::uint8_t> checks(4 * 4 * 3);
  for (std::size_t i = 0; i < checks.size(); ++i) checks[i] = (i / 3 + i / 12) % 2 ? 200 : 100;
  const std::vector<std::uint8_t> gray(2 * 2 * 3, 150);
  CHECK(mean_squared_error(checks.data(), 4, gray.data(), 2) == 0);
  CHECK(mean_squared_error(gray.data(), 2, checks.data(), 4) == 0);
  const std::vector<std::uint8_t> three(3 * 3 * 3, 77), two(2 * 2 * 3, 77);
  CHECK(mean_squared_error(three.data(), 3, two.data(), 2) == 0);
}

TEST_CASE("outputs are refused that are not finite, or of which the engine says so") {
  Tensor picture(DType::kFloat32, {1, 3, 2, 2});
  Tensors found;
  const auto refused = [&] {
    return outcome_of([&] { require_finite(picture, found, "synthesis", "hint"); });
  };
  float* values = picture.data<float>();
  values[0] = std::numeric_limits<float>::max();
  CHECK(refused() == Status::kOk);
  for (float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    values[11] = bad;
    CHECK(refused() == Status::kNumerics);
  }
  Tensor told(DType::kUint8, {2});
  told.data<std::uint8_t>()[0] = told.data<std::uint8_t>()[1] = 1;
  found[kFinite] = told;
  CHECK(refused() == Status::kOk);  // nobody looks
  found.at(kFinite).data<std::uint8_t>()[1] = 0;
  values[11] = 0;
  CHECK(refused() == Status::kNumerics);
}

TEST_CASE("a provider gets the first variant that suits it") {
  Role role;
  role.variants = {variant("onnxruntime", "fp16_stored", "cpu", 1),
                   variant("onnxruntime", "fp16", "dense", 0),
                   variant("openvino", "fp32", "cpu", 1), variant("openvino", "bf16", "cpu", 1)};
  const auto chosen = [&](const char* name) { return choose_variant("synthesis", role, provider(name))->file; };
  CHECK(chosen("cpu") == role.variants[0].file);
  CHECK(chosen("cuda") == role.variants[1].file);
  CHECK(chosen("openvino") == role.variants[2].file);
  CHECK(chosen("openvino-bf16") == role.variants[3].file);
  role.variants.pop_back();
  CHECK(chosen("openvino-bf16") == role.variants[2].file);
  role.variants.erase(role.variants.begin());
  CHECK(choose_variant("synthesis", role, provider("cpu")) == nullptr);
}

TEST_CASE("what is too small for an engine of TensorRT runs on the CPU") {
  Role role;
  role.variants = {variant("tensorrt", "fp16", "plugin", 0),
                   variant("onnxruntime", "fp16", "dense", 0),
                   variant("onnxruntime", "fp32", "plain", 0)};
  const auto chosen = [&](const char* name) {
    return choose_variant(name, role, provider("tensorrt"))->file;
  };
  CHECK(chosen("synthesis") == role.variants[0].file);
  CHECK(chosen("preprocess") == role.variants[2].file);
  CHECK(chosen("mapping") == role.variants[2].file);
  CHECK_FALSE(provider("tensorrt").automatic);
}

TEST_CASE("a variant fixes the batch that its role leaves open") {
  Role role;
  role.inputs = {{"P", "float32", {std::string("N"), std::string("L"), std::int64_t{10}}}};
  CHECK(input_shapes(role, variant("openvino", "fp32", "cpu", 1)).at("P") == Shape{1, -1, 10});
  CHECK(input_shapes(role, variant("openvino", "fp32", "cpu", 0)).at("P") == Shape{-1, -1, 10});
}

TEST_CASE("arrays join along the first axis only if they are alike") {
  Tensor one(DType::kUint8, {1, 2}), two(DType::kUint8, {2, 2});
  one.data<std::uint8_t>()[1] = 7;
  two.data<std::uint8_t>()[3] = 9;
  const Tensor both = concatenate({one, two});
  CHECK(both.shape == Shape{3, 2});
  CHECK(both.data<std::uint8_t>()[1] == 7);
  CHECK(both.data<std::uint8_t>()[5] == 9);
  CHECK_THROWS_AS(concatenate({one, Tensor(DType::kUint8, {1, 3})}), Error);
  CHECK_THROWS_AS(concatenate({one, Tensor(DType::kFloat32, {1, 2})}), Error);
  const TensorView row = both.view().rows(2, 3);
  CHECK(row.shape == Shape{1, 2});
  CHECK(static_cast<const std::uint8_t*>(row.data)[1] == 9);
}

TEST_CASE("engines' texts lose their paths and lines, and say when memory ran out") {
  CHECK(one_line("Exception from /home/who/src/core.cpp:42:\n  Check failed") ==
        "Exception from … Check failed");
  CHECK(one_line(std::string(1000, 'x')).size() < 310);
  CHECK(engine_failed("it cannot run", "std::bad_alloc", "").status == Status::kResource);
  CHECK(engine_failed("it cannot run", "wrong rank", "").status == Status::kIncompatible);
}
