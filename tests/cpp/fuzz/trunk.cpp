// A refusal is a right answer; what is taken is run.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/refinestyle_native.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr int kSide = 32;
  char error[1000];
  rs_native_trunk* trunk =
      rs_native_trunk_open(data, size, kSide, 1, nullptr, error, sizeof error);
  if (trunk == nullptr) return 0;
  const rs_native_trunk_shape shape = rs_native_trunk_describe(trunk);
  const std::vector<float> picture(std::size_t{1} * shape.in * kSide * kSide, 0.5f);
  std::vector<float> taps[3];
  for (int tap = 0; tap < 3; ++tap) {
    const int side = kSide >> (tap + 2);
    taps[tap].resize(std::size_t{1} * shape.channels[tap] * side * side);
  }
  const std::int32_t status = rs_native_trunk_run(trunk, picture.data(), taps[0].data(),
                                                  taps[1].data(), taps[2].data(), nullptr);
  if (status != RS_NATIVE_OK) __builtin_trap();
  rs_native_trunk_close(trunk);
  return 0;
}
