// Picture to latent and tokens, and back to a picture in any mix of domains.
//
//     two-stage:  picture -> preprocess -> base_inverter -> synthesis -> refiner -> synthesis
//     one-stage:  picture -> preprocess -> inverter -> synthesis
//     features:   picture -> preprocess -> feature_encoder -> synthesis_lower -> feature_shift
//                         -> synthesis_upper
//
// The host passes tensors from graph to graph; the numbers are made inside the graphs, so every
// engine and every binding agrees. Adding tokens (mixing) is the one exception.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "contracts/bundle.h"
#include "contracts/tokens.h"
#include "engines/engine.h"
#include "mixing/mixing.h"
#include "pipeline/roles.h"
#include "pipeline/synthesis.h"

namespace refinestyle {

// RGB pixels that somebody else owns, [height, width, 3].
struct PixelView {
  const std::uint8_t* data;
  int width, height;
};

struct RuntimeOptions {
  EngineOptions engine;
  bool allow_foreign = false;  // accept token sets of another generator of the same shape
  bool trust = false;          // do not hash the bundle's files again
};

using SharedTokens = std::shared_ptr<const TokenSet>;

// Feature maps that pictures keep in the place of tokens. A domain moves them as it moves the
// generator's own, and a picture is drawn from
//
//     lower(domain) + strength (shift(own, source, lower(domain)) - lower(domain))
struct FeatureMaps {
  Tensor own;    // float32 [N, C, h, w]
  Lower source;  // what the generator makes of the latents alone
};

// What pictures became: N latents, their tokens, and the pictures as the inverter saw them.
struct Inverted {
  Tensor w_plus;                        // float32 [N, num_ws, w_dim]
  PackedTokens tokens;                  // of N samples; neutral where there are feature maps
  Tensor input;                         // uint8 [N, S, S, 3]; empty if there is no picture
  std::optional<FeatureMaps> features;  // of bundles of the model feature_shift

  std::size_t count() const { return tokens.count; }
};

// A bundle, ready to invert and to synthesize. Threads may share it.
class Runtime {
 public:
  // Throws what Bundle::open and ProviderSelection throw.
  Runtime(const std::string& bundle, const RuntimeOptions& options);

  const Manifest& manifest() const { return bundle_.manifest(); }
  const LayerTable& table() const { return manifest().layer_table; }
  const std::vector<std::string>& domains() const { return domains_; }  // in alphabetical order
  const char* provider() const { return roles_.provider(); }

  // "NAME", "PATH", "NAME=0.7" or "PATH=0.7": see parse_domain. Throws kUsage for an unknown name,
  // and what reading a token set throws.
  SharedTokens find_tokens(const std::string& text, double& strength) const;

  SharedTokens decode_tokens(ByteView data) const;

  // Finds the latents and tokens of pictures of any sizes. Throws kIncompatible without an inverter.
  Inverted invert(const std::vector<PixelView>& pictures) const;

  // What a saved image set holds. Throws kUsage for a set that is no inverted picture.
  Inverted restore(const TokenSet& tokens) const;

  // Draws inverted pictures with a mix each: none for any of them, one for all, or N; and with a
  // factor on each one's own tokens or feature map. Throws kUsage for another number of mixes, kIncompatible for a
  // set of another generator, kNumerics when the result is not finite.
  Tensor synthesize(const Inverted& inverted, const std::vector<Mix>& mixes,
                    const std::vector<double>& image_strengths) const;

  // Draws random pictures. Throws kIncompatible without a mapping graph.
  Tensor synth(const std::vector<std::uint32_t>& seeds, double truncation_psi,
               const std::vector<Mix>& mixes) const;

  // Mean squared error of each reconstruction in [-1, 1] units, at the smaller of the two sizes.
  // Throws kUsage for what was restored from a file.
  std::vector<double> reconstruction_errors(const Inverted& inverted) const;

  // One inverted picture as a token set of kind image. Throws kIncompatible if it keeps a feature
  // map, which no token set holds.
  TokenSet token_set(const Inverted& inverted, std::size_t index, const std::string& name) const;

 private:
  Tensor prepare(const PixelView& picture) const;
  FeatureMaps features(Tensors& found, const Tensor& w_plus) const;
  Tensor draw_features(const Inverted& inverted, const std::vector<Mix>& mixes,
                       const std::vector<double>& strengths) const;
  std::vector<Mix> checked(const std::vector<Mix>& mixes, std::size_t count) const;
  PackedTokens packed(Tensors& found, std::size_t count) const;
  SharedTokens bundled_domain(const std::string& name) const;

  Bundle bundle_;
  RoleRunner roles_;
  Synthesis synthesis_;
  bool allow_foreign_;
  std::vector<std::string> domains_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, SharedTokens> bundled_;  // domains of the bundle, once decoded
};

}  // namespace refinestyle
