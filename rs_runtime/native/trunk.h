// The trunk of an encoder on this machine's CPU: a picture -> the maps of its last three stages.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "pool.h"
#include "products.h"
#include "trunk_layers.h"

namespace refinestyle::native {

class Trunk {
 public:
  // Units up to the taps: the last three stages.
  static constexpr std::size_t kEnds[] = {7, 21, 24};

  // threads: of one run. Throws std::bad_alloc, std::system_error.
  Trunk(std::shared_ptr<const TrunkLayers> layers, const Kernels& kernels, int threads);

  // Channels of the taps.
  static std::array<int, 3> channels(const TrunkLayers& layers);

  const TrunkLayers& layers() const { return layers_; }

  // picture [in][size][size] -> taps [C][size / 4][size / 4], [C][size / 8][…], [C][size / 16][…].
  // Callers in several threads wait for each other. stop: ends the run before its next unit once
  // another thread sets it; or null. False where it did.
  bool run(const float* picture, const std::array<float*, 3>& taps, const int32_t* stop = nullptr);

 private:
  void read(const float* picture, const Map& x);
  void convolve(const PlainConv& conv, const Map& x, const Map& y, const Normalised* norm);
  void run_unit(std::size_t index, Map& x);
  const float* gate_of(const Unit& unit, const Map& x);
  void write(const Map& x, int size, int channels, float* tap);

  std::shared_ptr<const TrunkLayers> shared_;
  const TrunkLayers& layers_;
  const Kernels& kernels_;
  Pool pool_;
  Products products_;
  std::mutex running_;

  // Maps: what units hand on, by turns; normalised; between a unit's convolutions; after them.
  Floats maps_[2], normalised_, between_, after_;
  Floats sums_, gate_;  // by rows, and in all
};

}  // namespace refinestyle::native
