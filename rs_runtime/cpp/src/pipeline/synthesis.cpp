#include "pipeline/synthesis.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "pipeline/outputs.h"

namespace refinestyle {
namespace {

std::int64_t signed_size(std::size_t size) { return static_cast<std::int64_t>(size); }

TensorView view(const Rows& rows, std::size_t count, bool with_rows) {
  Shape shape = {signed_size(count), signed_size(rows.width())};
  if (with_rows) shape.insert(shape.begin() + 1, signed_size(rows.rows()));
  return {DType::kFloat32, shape, rows.values().data()};
}

}  // namespace

Drawn Synthesis::whole(const TensorView& w_plus, const PackedTokens& tokens) const {
  return drawn(run("synthesis", {{"w_plus", w_plus}}, tokens), tokens.count);
}

Lower Synthesis::lower(const TensorView& w_plus, const PackedTokens& tokens) const {
  Tensors found = run("synthesis_lower", {{"w_plus", w_plus}}, tokens);
  const std::int64_t count = signed_size(tokens.count);
  return {take_output(found, "feature", DType::kFloat32, {count, -1, -1, -1}),
          take_output(found, "rgb", DType::kFloat32, {count, 3, -1, -1})};
}

Drawn Synthesis::upper(const TensorView& feature, const TensorView& rgb, const TensorView& w_plus,
                       const PackedTokens& tokens) const {
  const Views samples = {{"feature", feature}, {"rgb", rgb}, {"w_plus", w_plus}};
  return drawn(run("synthesis_upper", samples, tokens), tokens.count);
}

Tensors Synthesis::run(const char* role, const Views& samples, const PackedTokens& tokens) const {
  // Run in the graph's own pieces, so that a sample of low rank pays for no other's.
  const std::size_t step = roles_.largest_batch(role);
  if (tokens.count <= step) return run_piece(role, samples, tokens);
  std::map<std::string, std::vector<Tensor>> pieces;
  for (std::size_t begin = 0; begin < tokens.count; begin += step) {
    const std::size_t end = std::min(begin + step, tokens.count);
    Views own;
    for (const auto& [name, sample] : samples) {
      own.emplace(name, sample.rows(signed_size(begin), signed_size(end)));
    }
    for (auto& [name, tensor] : run_piece(role, std::move(own), take(tokens, begin, end))) {
      pieces[name].push_back(std::move(tensor));
    }
  }
  Tensors joined;
  for (auto& [name, parts] : pieces) joined[name] = concatenate(std::move(parts));
  return joined;
}

Tensors Synthesis::run_piece(const char* role, Views samples, const PackedTokens& tokens) const {
  samples.insert({{"P", view(tokens.P, tokens.count, true)},
                  {"Q", view(tokens.Q, tokens.count, true)},
                  {"style_offset", view(tokens.style_offset, tokens.count, false)},
                  {"modulation", view(tokens.modulation, tokens.count, false)}});
  return roles_.run(role, samples);
}

Drawn Synthesis::drawn(Tensors found, std::size_t count) const {
  const std::int64_t samples = signed_size(count);
  const std::int64_t side = table_.resolution();
  Drawn own{take_output(found, "image", DType::kUint8, {samples, side, side, 3}),
            take_output(found, "image_float", DType::kFloat32, {samples, 3, side, side})};
  require_finite(own.image_float, found, "synthesis", "use smaller strengths");
  return own;
}

}  // namespace refinestyle
