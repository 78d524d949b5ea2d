#include "pipeline/runtime.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <tuple>
#include <utility>

#include "contracts/domains.h"
#include "contracts/error.h"
#include "contracts/sha256.h"
#include "pipeline/outputs.h"
#include "pipeline/random.h"
#include "pipeline/reconstruction.h"

namespace refinestyle {
namespace {

// Roles of which one reads the picture first.
constexpr const char* kInverters[] = {"inverter", "base_inverter", "feature_encoder"};

std::vector<std::string> names(const std::map<std::string, std::string>& domains) {
  std::vector<std::string> list;
  for (const auto& [name, path] : domains) list.push_back(name);
  return list;
}

std::int64_t signed_size(std::size_t size) { return static_cast<std::int64_t>(size); }

Rows rows_of(const Tensor& tensor) {
  const auto side = [&](int axis) { return static_cast<std::size_t>(tensor.shape[axis]); };
  Rows rows(side(0), side(1), side(2), 0);
  std::memcpy(rows.row(0, 0), tensor.bytes.data(), tensor.bytes.size());
  return rows;
}

Error foreign(const TokenSet& tokens, const std::string& own) {
  return Error(Status::kIncompatible,
               "the token set '" + tokens.name + "' was made for another generator",
               tokens.fingerprint.substr(0, 16) + "…", own.substr(0, 16) + "…",
               "use the bundle it was made with; allow_foreign tries it all the same");
}

}  // namespace

Runtime::Runtime(const std::string& bundle, const RuntimeOptions& options)
    : bundle_(Bundle::open(bundle, options.trust)),
      roles_(bundle_, options.engine),
      synthesis_(roles_, table()),
      allow_foreign_(options.allow_foreign),
      domains_(names(manifest().domains)) {}

SharedTokens Runtime::find_tokens(const std::string& text, double& strength) const {
  const DomainRequest request = parse_domain(text, domains_);
  strength = request.strength;
  if (request.path.empty()) return bundled_domain(request.name);
  const TokenReader reader{&table(), manifest().generator_fingerprint, allow_foreign_};
  return std::make_shared<const TokenSet>(reader.read(request.path));
}

SharedTokens Runtime::decode_tokens(ByteView data) const {
  const TokenReader reader{&table(), manifest().generator_fingerprint, allow_foreign_};
  return std::make_shared<const TokenSet>(reader.decode(data, "token set"));
}

SharedTokens Runtime::bundled_domain(const std::string& name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  SharedTokens& tokens = bundled_[name];
  if (!tokens) {
    const std::string& path = manifest().domains.at(name);
    const TokenReader reader{&table(), manifest().generator_fingerprint, false};
    tokens = std::make_shared<const TokenSet>(reader.decode(bundle_.read(path), path));
  }
  return tokens;
}

Inverted Runtime::invert(const std::vector<PixelView>& pictures) const {
  if (pictures.empty()) throw Error(Status::kUsage, "there is no picture to invert");
  std::vector<Tensor> parts;
  for (const PixelView& picture : pictures) parts.push_back(prepare(picture));
  Tensor input = concatenate(std::move(parts));
  const std::size_t count = pictures.size();
  const auto* name = std::find_if(std::begin(kInverters), std::end(kInverters),
                                  [this](const char* own) { return roles_.has(own); });
  Tensors found = roles_.run(name == std::end(kInverters) ? "base_inverter" : *name,
                             {{"image", input.view()}});
  Tensor w_plus = take_output(found, "w_plus", DType::kFloat32,
                              {signed_size(count), table().num_ws(), table().w_dim()});
  if (found.count("feature") != 0) {
    FeatureMaps maps = features(found, w_plus);
    return {std::move(w_plus), neutral(count, table()), std::move(input), std::move(maps)};
  }
  if (roles_.has("refiner")) {
    const Drawn first = synthesis_.whole(w_plus.view(), neutral(count, table()));
    found = roles_.run("refiner", {{"image", input.view()},
                                   {"first_inversion", first.image_float.view()}});
  }
  PackedTokens tokens = packed(found, count);
  return {std::move(w_plus), std::move(tokens), std::move(input), std::nullopt};
}

Inverted Runtime::restore(const TokenSet& tokens) const {
  if (tokens.fingerprint != manifest().generator_fingerprint && !allow_foreign_) {
    throw foreign(tokens, manifest().generator_fingerprint);
  }
  if (!tokens.w_plus) {
    throw Error(Status::kUsage, "'" + tokens.name + "' is not an inverted picture",
                "a token set of a domain", "one made by rs-run invert --save-tokens");
  }
  Tensor w_plus(DType::kFloat32, {1, table().num_ws(), table().w_dim()});
  if (tokens.w_plus->values.size() * sizeof(float) != w_plus.bytes.size()) {
    throw Error(Status::kIncompatible, "the latent of '" + tokens.name + "' does not fit",
                std::to_string(tokens.w_plus->values.size()) + " numbers", to_text(w_plus.shape));
  }
  std::memcpy(w_plus.bytes.data(), tokens.w_plus->values.data(), w_plus.bytes.size());
  PackedTokens own = mix({{{&tokens, 1.0}}}, table(), neutral(1, table()));
  return {std::move(w_plus), std::move(own), Tensor(), std::nullopt};
}

Tensor Runtime::synthesize(const Inverted& inverted, const std::vector<Mix>& mixes,
                           const std::vector<double>& image_strengths) const {
  const std::vector<Mix> own = checked(mixes, inverted.count());
  if (inverted.features) return draw_features(inverted, own, image_strengths);
  const PackedTokens tokens = mix(own, table(), scale(inverted.tokens, image_strengths));
  return synthesis_.whole(inverted.w_plus.view(), tokens).image;
}

Tensor Runtime::synth(const std::vector<std::uint32_t>& seeds, double truncation_psi,
                      const std::vector<Mix>& mixes) const {
  if (seeds.empty()) throw Error(Status::kUsage, "there is no seed");
  if (!std::isfinite(truncation_psi)) {
    throw Error(Status::kUsage, "truncation must be a finite number",
                std::to_string(truncation_psi), "for example 0.7");
  }
  const std::size_t count = seeds.size();
  const std::vector<Mix> own = checked(mixes, count);
  const auto shapes = input_shapes(roles_.role("mapping"), roles_.role("mapping").variants[0]);
  const auto z_shape = shapes.find("z");
  if (z_shape == shapes.end() || z_shape->second.size() != 2 || z_shape->second[1] < 1) {
    throw Error(Status::kIncompatible, "the mapping graph has no input z [N, numbers]", "", "",
                kRepairBundle);
  }
  Tensor z(DType::kFloat32, {signed_size(count), z_shape->second[1]});
  const auto width = static_cast<std::size_t>(z.shape[1]);
  for (std::size_t n = 0; n < count; ++n) {
    const std::vector<float> numbers = standard_normal(seeds[n], width);
    std::copy(numbers.begin(), numbers.end(), z.data<float>() + n * width);
  }
  const auto psi = static_cast<float>(truncation_psi);
  Tensors found = roles_.run("mapping", {{"z", z.view()},
                                         {"truncation_psi", {DType::kFloat32, {}, &psi}}});
  const Tensor w =
      take_output(found, "w", DType::kFloat32, {signed_size(count), table().w_dim()});
  Tensor w_plus(DType::kFloat32, {signed_size(count), table().num_ws(), table().w_dim()});
  const auto w_dim = static_cast<std::size_t>(table().w_dim());
  float* next = w_plus.data<float>();
  for (std::size_t n = 0; n < count; ++n) {
    for (int i = 0; i < table().num_ws(); ++i) {
      next = std::copy_n(w.data<float>() + n * w_dim, w_dim, next);
    }
  }
  return synthesis_.whole(w_plus.view(), mix(own, table(), neutral(count, table()))).image;
}

std::vector<double> Runtime::reconstruction_errors(const Inverted& inverted) const {
  if (inverted.input.shape.empty()) {
    throw Error(Status::kUsage,
                "an inversion restored from a file has no picture to compare with");
  }
  const Tensor made = synthesize(inverted, {}, std::vector<double>(inverted.count(), 1));
  const auto side = static_cast<int>(inverted.input.shape[1]);
  const std::size_t input_size = inverted.input.bytes.size() / inverted.count();
  const std::size_t made_size = made.bytes.size() / inverted.count();
  std::vector<double> errors;
  for (std::size_t n = 0; n < inverted.count(); ++n) {
    errors.push_back(mean_squared_error(inverted.input.data<std::uint8_t>() + n * input_size, side,
                                        made.data<std::uint8_t>() + n * made_size,
                                        table().resolution()));
  }
  return errors;
}

TokenSet Runtime::token_set(const Inverted& inverted, std::size_t index,
                            const std::string& name) const {
  if (index >= inverted.count()) {
    throw Error(Status::kUsage, "there is no picture of this index", std::to_string(index),
                "less than " + std::to_string(inverted.count()));
  }
  if (inverted.features) {
    throw Error(Status::kIncompatible, "a token set cannot hold an inversion of this bundle",
                "a feature map beside the latent",
                "tokens, which bundles of the models two_stage and one_stage give",
                "keep the picture itself, and invert it again");
  }
  TokenSet tokens;
  tokens.kind = TokenKind::kImage;
  tokens.name = name;
  std::tie(tokens.P, tokens.Q) = split_layers(inverted.tokens, index, table());
  const auto num_ws = static_cast<std::size_t>(table().num_ws());
  const auto w_dim = static_cast<std::size_t>(table().w_dim());
  const float* latent = inverted.w_plus.data<float>() + index * num_ws * w_dim;
  tokens.w_plus = Array{{num_ws, w_dim}, {latent, latent + num_ws * w_dim}};
  tokens.source = "restored from a token set";
  if (!inverted.input.shape.empty()) {
    const std::size_t size = inverted.input.bytes.size() / inverted.count();
    const ByteView picture(inverted.input.data<std::uint8_t>() + index * size, size);
    tokens.source = "sha256 of the prepared picture: " + sha256_hex(picture);
  }
  tokens.licence = "that of the picture";
  tokens.fingerprint = manifest().generator_fingerprint;
  tokens.table_hash = table().hash();
  return tokens;
}

Tensor Runtime::prepare(const PixelView& picture) const {
  const TensorView photo{DType::kUint8, {picture.height, picture.width, 3}, picture.data};
  Tensors found = roles_.run("preprocess", {{"photo", photo}});
  Tensor image = take_output(found, "image", DType::kUint8, {1, -1, -1, 3});
  if (image.shape[1] == image.shape[2]) return image;
  throw Error(Status::kIncompatible, "the preprocess graph gives a picture that is not square",
              to_text(image.shape), "", kRepairBundle);
}

std::vector<Mix> Runtime::checked(const std::vector<Mix>& mixes, std::size_t count) const {
  if (mixes.size() > 1 && mixes.size() != count) {
    throw Error(Status::kUsage, "each sample needs its own mix of domains",
                std::to_string(mixes.size()) + " mixes", "none, 1 or " + std::to_string(count));
  }
  for (const Mix& own : mixes) {
    for (const Domain& domain : own) {
      if (domain.tokens->fingerprint != manifest().generator_fingerprint && !allow_foreign_) {
        throw foreign(*domain.tokens, manifest().generator_fingerprint);
      }
    }
  }
  if (mixes.size() == count) return mixes;
  return std::vector<Mix>(count, mixes.empty() ? Mix() : mixes.front());
}

FeatureMaps Runtime::features(Tensors& found, const Tensor& w_plus) const {
  const std::int64_t count = w_plus.shape[0];
  Tensor own = take_output(found, "feature", DType::kFloat32, {count, -1, -1, -1});
  require_finite(own, found, "feature encoder", "try another picture or provider");
  const PackedTokens none = neutral(static_cast<std::size_t>(count), table());
  return {std::move(own), synthesis_.lower(w_plus.view(), none)};
}

Tensor Runtime::draw_features(const Inverted& inverted, const std::vector<Mix>& mixes,
                              const std::vector<double>& strengths) const {
  const std::vector<float> factor = factors(strengths, inverted.count());
  const bool moved =
      std::any_of(mixes.begin(), mixes.end(), [](const Mix& own) { return !own.empty(); });
  const TensorView w_plus = inverted.w_plus.view();
  const Lower& source = inverted.features->source;
  const PackedTokens tokens = mix(mixes, table(), inverted.tokens);
  const Lower domain = moved ? synthesis_.lower(w_plus, tokens) : Lower();
  const Lower& lower = moved ? domain : source;
  Tensors found = roles_.run("feature_shift", {{"feature", inverted.features->own.view()},
                                               {"lower_source", source.feature.view()},
                                               {"lower_domain", lower.feature.view()}});
  Tensor shifted = take_output(found, "shifted", DType::kFloat32, lower.feature.shape);
  const std::size_t size = element_count(shifted.shape) / inverted.count();
  for (std::size_t n = 0; n < inverted.count(); ++n) {
    if (factor[n] == 1) continue;
    float* to = shifted.data<float>() + n * size;
    const float* from = lower.feature.data<float>() + n * size;
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i] + factor[n] * (to[i] - from[i]);
  }
  return synthesis_.upper(shifted.view(), lower.rgb.view(), w_plus, tokens).image;
}

PackedTokens Runtime::packed(Tensors& found, std::size_t count) const {
  PackedTokens tokens = neutral(count, table());
  if (found.count("P") == 0) return tokens;
  const Tensor P = take_output(found, "P", DType::kFloat32,
                               {signed_size(count), -1, signed_size(table().sum_out())});
  const Tensor Q = take_output(found, "Q", DType::kFloat32,
                               {signed_size(count), P.shape[1], signed_size(table().sum_in())});
  tokens.P = rows_of(P);
  tokens.Q = rows_of(Q);
  return tokens;
}

}  // namespace refinestyle
