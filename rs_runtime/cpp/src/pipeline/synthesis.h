// Runs the synthesis graphs: the whole network, or its two parts, split at a feature map.
#pragma once

#include "contracts/layers.h"
#include "engines/tensor.h"
#include "mixing/mixing.h"
#include "pipeline/roles.h"

namespace refinestyle {

struct Drawn {
  Tensor image;        // uint8 [N, R, R, 3]
  Tensor image_float;  // float32 [N, 3, R, R], unclamped, nominally in [-1, 1]
};

// What the layers below the split give.
struct Lower {
  Tensor feature;  // float32 [N, C, h, w], the map that the first layer above reads
  Tensor rgb;      // float32 [N, 3, h', w'], the picture so far
};

// The synthesis network of a bundle: `upper` of what `lower` gives, with the same latents and
// tokens, is `whole`. Latents are float32 [N, num_ws, w_dim], tokens of N samples.
// Calls throw what RoleRunner::run throws, and kNumerics for pictures that are not finite.
class Synthesis {
 public:
  // Opens no graph yet; both have to live as long.
  Synthesis(const RoleRunner& roles, const LayerTable& table) : roles_(roles), table_(table) {}

  Drawn whole(const TensorView& w_plus, const PackedTokens& tokens) const;
  Lower lower(const TensorView& w_plus, const PackedTokens& tokens) const;
  Drawn upper(const TensorView& feature, const TensorView& rgb, const TensorView& w_plus,
              const PackedTokens& tokens) const;

 private:
  Tensors run(const char* role, const Views& samples, const PackedTokens& tokens) const;
  Tensors run_piece(const char* role, Views samples, const PackedTokens& tokens) const;
  Drawn drawn(Tensors found, std::size_t count) const;

  const RoleRunner& roles_;
  const LayerTable& table_;
};

}  // namespace refinestyle
