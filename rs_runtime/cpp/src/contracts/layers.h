// The layer table: which layers a StyleGAN2 synthesis has, in which order, reading which w.
//
// Packed order, used wherever tokens travel as one array: the convolutions in table order; style
// offsets append the toRGB layers after all convolutions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace refinestyle {

enum class LayerKind { kConv, kToRgb };

struct Layer {
  int index;         // position in LayerTable::layers
  std::string name;  // b<resolution>.conv0, .conv1 or .torgb
  LayerKind kind;
  int resolution;    // output side in pixels
  int in_channels;   // Cin, also the length of the layer's style
  int out_channels;  // Cout
  int kernel;        // kernel side k
  int up;            // 2 for the first convolution of a block after the first, else 1
  int w_index;       // which entry of w_plus the style is computed from

  bool operator==(const Layer& other) const;
};

// Where a layer's numbers lie in a packed row.
struct Slice {
  std::size_t begin, end;
};

class LayerTable {
 public:
  // Reads the JSON form. Throws kMalformed unless the layers form a StyleGAN2 synthesis network.
  static LayerTable from_json(const nlohmann::json& value, const std::string& where);

  // channels: output channels of each block, for every power of two from 4 to the image's side.
  // Throws kUsage for resolutions or numbers out of range.
  static LayerTable from_channels(const std::map<std::int64_t, std::int64_t>& channels,
                                  std::int64_t w_dim, std::int64_t kernel = 3);

  const std::vector<Layer>& layers() const { return layers_; }
  const std::vector<Layer>& convs() const { return convs_; }    // convs()[n].w_index == n
  const std::vector<Layer>& torgbs() const { return torgbs_; }  // smallest resolution first
  const Layer* find(const std::string& name) const;             // nullptr when there is none

  int w_dim() const { return w_dim_; }                                // length of one w
  int num_ws() const { return static_cast<int>(convs_.size()) + 1; }  // entries of w_plus
  int resolution() const { return layers_.back().resolution; }        // side R in pixels
  std::size_t sum_in() const { return sum_in_; }    // width of packed Q and of packed modulation
  std::size_t sum_out() const { return sum_out_; }  // width of packed P
  std::size_t style_channels_with_torgb() const { return sum_styles_; }  // of packed style offsets

  // Each convolution in packed Q and packed modulation; in packed P; each layer in style offsets.
  const std::map<std::string, Slice>& in_slices() const { return in_slices_; }
  const std::map<std::string, Slice>& out_slices() const { return out_slices_; }
  const std::map<std::string, Slice>& style_slices() const { return style_slices_; }

  // SHA-256 of the canonical JSON form, what token sets name their generator's layers by.
  const std::string& hash() const { return hash_; }

 private:
  LayerTable(std::vector<Layer> layers, int w_dim);

  std::vector<Layer> layers_, convs_, torgbs_;
  int w_dim_;
  std::size_t sum_in_ = 0, sum_out_ = 0, sum_styles_ = 0;
  std::map<std::string, Slice> in_slices_, out_slices_, style_slices_;
  std::string hash_;
};

}  // namespace refinestyle
