// The synthesis network on this machine's CPU: w_plus and packed tokens of one picture -> picture.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "layers.h"
#include "pool.h"
#include "products.h"

namespace refinestyle::native {

// One sample's inputs, as the role `synthesis` takes them.
struct Inputs {
  const float* w_plus;        // [num_ws][w_dim]
  const float *P, *Q;         // [rank][sum_out], [rank][sum_in]
  const float* style_offset;  // [style_channels]
  const float* modulation;    // [sum_in]
  int rank;
};

struct Outputs {
  float* image_float;  // [3][size][size]
  uint8_t* image;      // [size][size][3]
  uint8_t* finite;     // whether all of image_float is
};

class Synthesis {
 public:
  // threads: of one run. Several may share the layers. Throws std::bad_alloc, std::system_error.
  Synthesis(std::shared_ptr<const Layers> layers, const Kernels& kernels, int threads);

  const Layers& layers() const { return layers_; }

  // Callers in several threads wait for each other. stop: ends the run before its next block once
  // another thread sets it; or null. False where it did. Throws std::bad_alloc.
  bool run(const Inputs& inputs, const Outputs& outputs, const int32_t* stop = nullptr);

 private:
  struct Refined {  // a layer's kernels for this picture
    Floats change, d;  // dW m in panels, [out_padded]
    Floats kernels;    // all points, where they stay in the cache
  };

  void reserve();
  void set_styles(const Inputs& inputs);
  void draw_block(int block, const Inputs& inputs, const float* picture, float* larger);
  void refine(const Conv& conv, const Inputs& inputs);
  KernelSource kernels_of(const Conv& conv);
  void keep(const Conv& conv, const Map& x, const Map* y, const Rgb& rgb, int row, int row_end);
  void up(const Conv& conv, const Map& x, const Map& y, const std::function<void(int)>& ready);
  void enlarge(const float* picture, const ToRgb& torgb, float* larger);

  std::shared_ptr<const Layers> shared_;
  const Layers& layers_;
  const Kernels& kernels_;
  Pool pool_;
  Products products_;
  std::mutex running_;

  // Of the run that is under way.
  struct Styles {
    Floats style, gain, modulation;  // s + ds; times m; m
  };
  std::vector<Styles> styles_;         // by convolution
  std::vector<Floats> torgb_styles_;   // [in_padded]
  std::vector<Floats> torgb_weights_;  // [3][in_padded], scaled by the style
  Buffer P_, Q_;                       // one layer's, with padded channels
  Refined refined_[2];                 // of a block's size-keeping layer and of its up layer
  Floats unblurred_, ring_;
  Floats maps_[2], pictures_[2];
  int map_ = 0;  // which of maps_ is the next block's input
};

}  // namespace refinestyle::native
