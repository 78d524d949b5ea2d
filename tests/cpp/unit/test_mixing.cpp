#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "mixing/mixing.h"
#include "outcome.h"

using namespace refinestyle;

namespace {

const LayerTable& table() {
  static const LayerTable own = LayerTable::from_channels({{4, 4}, {8, 3}}, 2);
  return own;
}

Array filled(std::vector<std::size_t> shape, float value) {
  std::size_t count = 1;
  for (std::size_t side : shape) count *= side;
  return {std::move(shape), std::vector<float>(count, value)};
}

// A set whose P and Q are constant over all convolutions.
TokenSet domain(std::size_t rank, float P, float Q) {
  TokenSet tokens;
  tokens.name = "domain";
  for (const Layer& layer : table().convs()) {
    tokens.P[layer.name] = filled({rank, static_cast<std::size_t>(layer.out_channels)}, P);
    tokens.Q[layer.name] = filled({rank, static_cast<std::size_t>(layer.in_channels)}, Q);
  }
  return tokens;
}

// dW[o, i] of one sample at the packed columns o and i.
float residual(const PackedTokens& tokens, std::size_t sample, std::size_t o, std::size_t i) {
  float sum = 0;
  for (std::size_t l = 0; l < tokens.rank(); ++l) {
    sum += tokens.P.row(sample, l)[o] * tokens.Q.row(sample, l)[i];
  }
  return sum;
}

PackedTokens mixed(const std::vector<Mix>& samples) {
  return mix(samples, table(), neutral(samples.size(), table()));
}

}  // namespace

TEST_CASE("nothing mixed is one zero row and ones in the modulation") {
  const PackedTokens none = mixed({{}, {}});
  CHECK(none.count == 2);
  CHECK(none.rank() == 1);
  CHECK(residual(none, 1, 0, 0) == 0);
  CHECK(none.modulation.row(1, 0)[table().sum_in() - 1] == 1);
  CHECK(none.style_offset.width() == table().style_channels_with_torgb());
}

TEST_CASE("residuals add, each with its strength, and each sample has its own") {
  const TokenSet one = domain(1, 1, 2), two = domain(3, 0.5F, 1);
  const PackedTokens batch = mixed({{{&one, 1.0}, {&two, -2.0}}, {}, {{&two, 0.5}}});
  CHECK(batch.rank() == 4);
  CHECK(residual(batch, 0, 0, 0) == doctest::Approx(1 * 2 - 2 * 3 * 0.5));
  CHECK(residual(batch, 1, 0, 0) == 0);
  CHECK(residual(batch, 2, 5, 5) == doctest::Approx(0.5 * 3 * 0.5));
}

TEST_CASE("repeats sum their strengths without more rank, and zero leaves no row") {
  const TokenSet one = domain(2, 1, 1);
  const PackedTokens twice = mixed({{{&one, 0.25}, {&one, 0.5}}});
  CHECK(twice.rank() == 2);
  CHECK(residual(twice, 0, 0, 0) == doctest::Approx(2 * 0.75));
  CHECK(mixed({{{&one, 1.0}, {&one, -1.0}}}).rank() == 1);
}

TEST_CASE("offsets add and modulations add their changes") {
  TokenSet tokens;
  const Layer &conv = table().convs().front(), &rgb = table().torgbs().back();
  tokens.style_offset[rgb.name] = filled({static_cast<std::size_t>(rgb.in_channels)}, 0.5F);
  tokens.modulation[conv.name] = filled({static_cast<std::size_t>(conv.in_channels)}, 3);
  const PackedTokens packed = mixed({{{&tokens, 0.5}}});
  CHECK(packed.style_offset.row(0, 0)[table().style_slices().at(rgb.name).begin] == 0.25F);
  CHECK(packed.style_offset.row(0, 0)[0] == 0);
  CHECK(packed.modulation.row(0, 0)[table().in_slices().at(conv.name).begin] == 2);
}

TEST_CASE("rows of the pictures' own that nobody uses are left out") {
  PackedTokens own = neutral(2, table(), 3);
  own.P.row(1, 2)[0] = 2;
  own.Q.row(1, 2)[0] = 3;
  const TokenSet one = domain(1, 1, 1);
  const PackedTokens both = mix({{{&one, 1.0}}, {}}, table(), own);
  CHECK(both.rank() == 2);
  CHECK(residual(both, 1, 0, 0) == 6);
  CHECK(residual(both, 0, 0, 0) == 1);
  CHECK(take(both, 0, 1).rank() == 1);
  CHECK(residual(take(both, 1, 2), 0, 0, 0) == 6);
}

TEST_CASE("scaling multiplies the residual once and the changes of the modulation") {
  PackedTokens own = neutral(2, table());
  own.P.row(0, 0)[0] = 2;
  own.Q.row(0, 0)[0] = 3;
  own.modulation.row(1, 0)[0] = 3;
  const PackedTokens scaled = scale(own, {0.5, 0.25});
  CHECK(residual(scaled, 0, 0, 0) == 3);
  CHECK(scaled.modulation.row(1, 0)[0] == 1.5F);
  CHECK(outcome_of([&] { scale(own, {1.0}); }) == Status::kUsage);
}

TEST_CASE("layers come apart as they were put together, without those that are zero") {
  TokenSet one = domain(2, 1, 2);
  const std::string gone = table().convs().back().name;
  one.P.erase(gone);
  one.Q.erase(gone);
  const auto [P, Q] = split_layers(mixed({{{&one, 1.0}}}), 0, table());
  CHECK(P.size() == table().convs().size() - 1);
  CHECK(P.count(gone) == 0);
  const Layer& first = table().convs().front();
  CHECK(P.at(first.name).shape == one.P.at(first.name).shape);
  CHECK(Q.at(first.name).values == one.Q.at(first.name).values);
}

TEST_CASE("strengths that are not finite and sets of other layers are refused") {
  const TokenSet one = domain(1, 1, 1);
  for (double strength : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK(outcome_of([&] { mixed({{{&one, strength}}}); }) == Status::kUsage);
  }
  TokenSet wide = one, other;
  wide.P.begin()->second = filled({1, 99}, 1);
  CHECK(outcome_of([&] { mixed({{{&wide, 1.0}}}); }) == Status::kIncompatible);
  other.style_offset["b16.conv0"] = filled({4}, 1);
  CHECK(outcome_of([&] { mixed({{{&other, 1.0}}}); }) == Status::kIncompatible);
}
