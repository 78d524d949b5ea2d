// What every 3x3 layer has in common: tiles of a map are transformed, multiplied by the kernels at
// each point, and handed on to be transformed back.
#pragma once

#include <functional>
#include <vector>

#include "filters.h"
#include "kernels.h"
#include "memory.h"
#include "pool.h"

namespace refinestyle::native {

// The kernels of one panel at points [weight, weight + count) of those that differ,
// [count][in_padded][panel]: where they are kept, or made in `room`.
struct KernelSource {
  int count;
  std::function<const float*(int weight, int panel, float* room)> make;
};

class Products {
 public:
  // Called in any thread for blocks of tiles.
  using Inverse = std::function<void(const float* M, const Tiles&)>;

  Products(const Kernels& kernels, Pool& pool) : kernels_(kernels), pool_(pool) {}

  // Makes room for the filters that will be run. Throws std::bad_alloc.
  void reserve(const std::vector<const Filter*>& filters);

  // Tiles [first, first + count) of x. A resident filter's kernels are all in memory: its source is
  // asked for the first panel of the first point alone.
  void run(const Filter& filter, const Map& x, int first, int count, const KernelSource& source,
           const Inverse& inverse);

 private:
  void by_block(const Filter& filter, const Map& x, int first, int count, const float* kernels,
                const Inverse& inverse);
  void by_panel(const Filter& filter, const Map& x, int first, int count,
                const KernelSource& source, const Inverse& inverse);
  void multiply(const Filter& filter, int weight, int panel, const float* kernel, const float* V,
                float* M, const Tiles& tiles);

  struct Scratch {  // of one thread
    Floats V, M, kernels;
  };
  const Kernels& kernels_;
  Pool& pool_;
  Floats V_, M_;  // of all threads
  std::vector<Scratch> scratch_;
};

}  // namespace refinestyle::native
