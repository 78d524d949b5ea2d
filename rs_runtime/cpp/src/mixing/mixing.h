// How domains compose: token sets with strengths become the packed tensors of a synthesis graph.
//
//     dW = dW_image + sum lambda dW        low-rank sets concatenate along L, lambda on P only
//     style offset = sum lambda offset     modulation m = 1 + sum lambda (m - 1)
//
// Residuals add exactly (pictures do not); any finite strength is allowed, negative too; repeats
// add. Samples of one batch may carry different mixes; a shorter one is padded with zero rows up to
// the call's common L, which changes nothing. Adding tokens is all the arithmetic there is here.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "contracts/layers.h"
#include "contracts/tokens.h"

namespace refinestyle {

// Floats [count, rows, width].
class Rows {
 public:
  Rows(std::size_t count, std::size_t rows, std::size_t width, float fill)
      : rows_(rows), width_(width), values_(count * rows * width, fill) {}

  std::size_t rows() const { return rows_; }
  std::size_t width() const { return width_; }
  float* row(std::size_t sample, std::size_t row) {
    return values_.data() + (sample * rows_ + row) * width_;
  }
  const float* row(std::size_t sample, std::size_t row) const {
    return values_.data() + (sample * rows_ + row) * width_;
  }
  const std::vector<float>& values() const { return values_; }

 private:
  std::size_t rows_, width_;
  std::vector<float> values_;
};

// Tokens of N samples in layer-table order, L >= 1. Style offsets cover the convolutions, then the
// toRGB layers. Zeros in P, Q and the offsets and ones in the modulation are plain StyleGAN2.
struct PackedTokens {
  std::size_t count;  // N
  Rows P;             // [N, L, sum of Cout over convolutions]
  Rows Q;             // [N, L, sum of Cin over convolutions]
  Rows style_offset;  // [N, 1, sum of Cin over all layers]
  Rows modulation;    // [N, 1, sum of Cin over convolutions]

  std::size_t rank() const { return P.rows(); }
};

struct Domain {
  const TokenSet* tokens;
  double strength;
};

// What is added up for one sample.
using Mix = std::vector<Domain>;

// Tokens of `count` samples that change nothing, of rank L >= 1: engines differ on empty tensors, a
// zero row is exact everywhere.
PackedTokens neutral(std::size_t count, const LayerTable& table, std::size_t rank = 1);

// Adds one mix per sample onto packed tokens, such as the pictures' own. L is the largest sum of
// ranks in the batch, at least 1; rows of `onto` that are zero in every sample are left out.
// Throws kUsage for a strength that is not finite, kIncompatible for a set whose layers or shapes
// are not this generator's.
PackedTokens mix(const std::vector<Mix>& samples, const LayerTable& table,
                 const PackedTokens& onto);

// Multiplies dW (by way of P alone), offsets and modulation changes, by one strength per sample.
// Throws kUsage for a strength that is not finite, or another number of them.
PackedTokens scale(PackedTokens tokens, const std::vector<double>& strengths);

// The same factors as floats, checked. Throws as scale does.
std::vector<float> factors(const std::vector<double>& strengths, std::size_t count);

// Samples [begin, end) of a batch, without the rows that only the others need.
PackedTokens take(const PackedTokens& tokens, std::size_t begin, std::size_t end);

// One sample's P and Q, cut into layers, the form that token sets keep; layers that carry no
// residual are left out.
std::pair<std::map<std::string, Array>, std::map<std::string, Array>> split_layers(
    const PackedTokens& tokens, std::size_t sample, const LayerTable& table);

}  // namespace refinestyle
