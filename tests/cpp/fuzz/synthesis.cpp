// A refusal is a right answer; what is taken is drawn.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/refinestyle_native.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  char error[1000];
  rs_native* network = rs_native_open(data, size, 1, nullptr, error, sizeof error);
  if (network == nullptr) return 0;
  const rs_native_shape shape = rs_native_describe(network);
  const std::vector<float> w_plus(static_cast<std::size_t>(shape.num_ws) * shape.w_dim, 0.5f);
  const std::vector<float> P(static_cast<std::size_t>(shape.sum_out), 0.5f);
  const std::vector<float> Q(static_cast<std::size_t>(shape.sum_in), 0.5f);
  const std::vector<float> style_offset(static_cast<std::size_t>(shape.style_channels), 0.5f);
  std::vector<float> image_float(std::size_t{3} * shape.size * shape.size);
  std::vector<std::uint8_t> image(image_float.size());
  std::uint8_t finite = 2;
  const std::int32_t status =
      rs_native_run(network, w_plus.data(), P.data(), Q.data(), style_offset.data(), Q.data(), 1,
                    image_float.data(), image.data(), &finite, nullptr);
  if (status != RS_NATIVE_OK || finite > 1) __builtin_trap();
  rs_native_close(network);
  return 0;
}
