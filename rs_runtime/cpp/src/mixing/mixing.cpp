#include "mixing/mixing.h"

#include <algorithm>
#include <cmath>

#include "contracts/error.h"

namespace refinestyle {
namespace {

bool any(const float* begin, std::size_t count) {
  return std::any_of(begin, begin + count, [](float value) { return value != 0; });
}

void check_strength(double strength) {
  if (std::isfinite(strength)) return;
  throw Error(Status::kUsage, "a strength must be a finite number", std::to_string(strength),
              "for example 0.7");
}

// Which of the rows are not zero in both P and Q of some of the samples.
std::vector<std::size_t> used_rows(const PackedTokens& tokens, std::size_t begin, std::size_t end) {
  std::vector<std::size_t> used;
  const auto has = [&](const Rows& rows, std::size_t row) {
    for (std::size_t n = begin; n < end; ++n) {
      if (any(rows.row(n, row), rows.width())) return true;
    }
    return false;
  };
  for (std::size_t row = 0; row < tokens.rank(); ++row) {
    if (has(tokens.P, row) && has(tokens.Q, row)) used.push_back(row);
  }
  return used;
}

// Copies chosen rows of samples [begin, end) to the first rows of `to`.
void copy_rows(const Rows& from, std::size_t begin, std::size_t end,
               const std::vector<std::size_t>& chosen, Rows& to) {
  for (std::size_t n = begin; n < end; ++n) {
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      std::copy_n(from.row(n, chosen[i]), from.width(), to.row(n - begin, i));
    }
  }
}

Error foreign(const TokenSet& tokens, const std::string& found, const std::string& expected) {
  return Error(Status::kIncompatible,
               "the token set '" + tokens.name + "' does not fit this generator", found, expected);
}

void check_width(const TokenSet& tokens, const std::string& name, const Array& array,
                 const std::map<std::string, Slice>& slices) {
  const auto slice = slices.find(name);
  if (slice == slices.end()) {
    throw foreign(tokens, "a layer " + name, "the layers of this generator");
  }
  const std::size_t width = slice->second.end - slice->second.begin;
  if (array.shape.back() == width) return;
  throw foreign(tokens, std::to_string(array.shape.back()) + " channels at " + name,
                std::to_string(width));
}

void check_shapes(const TokenSet& tokens, const LayerTable& table) {
  for (const auto& [name, array] : tokens.P) check_width(tokens, name, array, table.out_slices());
  for (const auto& [name, array] : tokens.Q) check_width(tokens, name, array, table.in_slices());
  for (const auto& [name, array] : tokens.style_offset) {
    check_width(tokens, name, array, table.style_slices());
  }
  for (const auto& [name, array] : tokens.modulation) {
    check_width(tokens, name, array, table.in_slices());
  }
}

// Sums the strengths of repeats and drops what ends at zero, which keeps L small.
Mix merge(const Mix& sample, const LayerTable& table) {
  Mix merged;
  for (const Domain& domain : sample) {
    check_strength(domain.strength);
    check_shapes(*domain.tokens, table);
    const auto same = std::find_if(merged.begin(), merged.end(), [&](const Domain& other) {
      return other.tokens == domain.tokens;
    });
    if (same == merged.end()) {
      merged.push_back(domain);
    } else {
      same->strength += domain.strength;
    }
  }
  merged.erase(std::remove_if(merged.begin(), merged.end(),
                              [](const Domain& domain) { return domain.strength == 0; }),
               merged.end());
  return merged;
}

std::size_t rank_of(const Mix& sample) {
  std::size_t rank = 0;
  for (const Domain& domain : sample) rank += domain.tokens->rank();
  return rank;
}

// Writes a group's rows, times a factor, into the layer's columns from row `first` on.
void place(Rows& packed, std::size_t sample, std::size_t first, const Array& array,
           std::size_t column, float factor) {
  const std::size_t width = array.shape[1];
  for (std::size_t l = 0; l < array.shape[0]; ++l) {
    const float* from = array.values.data() + l * width;
    float* to = packed.row(sample, first + l) + column;
    for (std::size_t c = 0; c < width; ++c) to[c] = factor * from[c];
  }
}

// Writes a set into the rows of one sample from `first` on, and onto its offsets.
void add(PackedTokens& packed, std::size_t sample, std::size_t first, const Domain& domain,
         const LayerTable& table) {
  const TokenSet& tokens = *domain.tokens;
  const auto factor = static_cast<float>(domain.strength);
  for (const auto& [name, P] : tokens.P) {
    place(packed.P, sample, first, P, table.out_slices().at(name).begin, factor);
    place(packed.Q, sample, first, tokens.Q.at(name), table.in_slices().at(name).begin, 1.0F);
  }
  for (const auto& [name, offset] : tokens.style_offset) {
    float* to = packed.style_offset.row(sample, 0) + table.style_slices().at(name).begin;
    for (std::size_t c = 0; c < offset.values.size(); ++c) to[c] += factor * offset.values[c];
  }
  for (const auto& [name, modulation] : tokens.modulation) {
    float* to = packed.modulation.row(sample, 0) + table.in_slices().at(name).begin;
    for (std::size_t c = 0; c < modulation.values.size(); ++c) {
      to[c] += factor * (modulation.values[c] - 1);
    }
  }
}

}  // namespace

PackedTokens neutral(std::size_t count, const LayerTable& table, std::size_t rank) {
  return {count, Rows(count, rank, table.sum_out(), 0), Rows(count, rank, table.sum_in(), 0),
          Rows(count, 1, table.style_channels_with_torgb(), 0), Rows(count, 1, table.sum_in(), 1)};
}

PackedTokens mix(const std::vector<Mix>& samples, const LayerTable& table,
                 const PackedTokens& onto) {
  std::vector<Mix> merged;
  std::size_t added = 0;
  for (const Mix& sample : samples) {
    merged.push_back(merge(sample, table));
    added = std::max(added, rank_of(merged.back()));
  }
  const std::size_t count = samples.size();
  const std::vector<std::size_t> kept = used_rows(onto, 0, count);
  PackedTokens packed =
      neutral(count, table, std::max<std::size_t>(1, kept.size() + added));
  copy_rows(onto.P, 0, count, kept, packed.P);
  copy_rows(onto.Q, 0, count, kept, packed.Q);
  packed.style_offset = onto.style_offset;
  packed.modulation = onto.modulation;
  for (std::size_t n = 0; n < count; ++n) {
    std::size_t row = kept.size();
    for (const Domain& domain : merged[n]) {
      add(packed, n, row, domain, table);
      row += domain.tokens->rank();
    }
  }
  return packed;
}

std::vector<float> factors(const std::vector<double>& strengths, std::size_t count) {
  if (strengths.size() != count) {
    throw Error(Status::kUsage, "each sample needs its own strength",
                std::to_string(strengths.size()) + " strengths", std::to_string(count));
  }
  for (const double strength : strengths) check_strength(strength);
  return {strengths.begin(), strengths.end()};
}

PackedTokens scale(PackedTokens tokens, const std::vector<double>& strengths) {
  const std::vector<float> own = factors(strengths, tokens.count);
  for (std::size_t n = 0; n < tokens.count; ++n) {
    const float factor = own[n];
    for (std::size_t row = 0; row < tokens.rank(); ++row) {
      float* P = tokens.P.row(n, row);
      std::for_each(P, P + tokens.P.width(), [&](float& value) { value *= factor; });
    }
    float* offset = tokens.style_offset.row(n, 0);
    std::for_each(offset, offset + tokens.style_offset.width(),
                  [&](float& value) { value *= factor; });
    float* modulation = tokens.modulation.row(n, 0);
    std::for_each(modulation, modulation + tokens.modulation.width(),
                  [&](float& value) { value = 1 + factor * (value - 1); });
  }
  return tokens;
}

PackedTokens take(const PackedTokens& tokens, std::size_t begin, std::size_t end) {
  std::vector<std::size_t> kept = used_rows(tokens, begin, end);
  if (kept.empty()) kept.push_back(0);
  const std::size_t count = end - begin;
  const std::vector<std::size_t> only = {0};
  PackedTokens some{count, Rows(count, kept.size(), tokens.P.width(), 0),
                    Rows(count, kept.size(), tokens.Q.width(), 0),
                    Rows(count, 1, tokens.style_offset.width(), 0),
                    Rows(count, 1, tokens.modulation.width(), 0)};
  copy_rows(tokens.P, begin, end, kept, some.P);
  copy_rows(tokens.Q, begin, end, kept, some.Q);
  copy_rows(tokens.style_offset, begin, end, only, some.style_offset);
  copy_rows(tokens.modulation, begin, end, only, some.modulation);
  return some;
}

std::pair<std::map<std::string, Array>, std::map<std::string, Array>> split_layers(
    const PackedTokens& tokens, std::size_t sample, const LayerTable& table) {
  const auto cut = [&](const Rows& rows, const Slice& slice) {
    const std::size_t width = slice.end - slice.begin;
    Array array{{rows.rows(), width}, {}};
    for (std::size_t row = 0; row < rows.rows(); ++row) {
      const float* from = rows.row(sample, row) + slice.begin;
      array.values.insert(array.values.end(), from, from + width);
    }
    return array;
  };
  std::pair<std::map<std::string, Array>, std::map<std::string, Array>> split;
  for (const Layer& layer : table.convs()) {
    Array P = cut(tokens.P, table.out_slices().at(layer.name));
    Array Q = cut(tokens.Q, table.in_slices().at(layer.name));
    if (any(P.values.data(), P.values.size()) && any(Q.values.data(), Q.values.size())) {
      split.first.emplace(layer.name, std::move(P));
      split.second.emplace(layer.name, std::move(Q));
    }
  }
  return split;
}

}  // namespace refinestyle
