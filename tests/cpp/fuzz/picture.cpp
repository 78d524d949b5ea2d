#include "image_io/image.h"
#include "judge.h"

using namespace refinestyle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  PictureLimits limits;
  limits.max_pixels = 1 << 16;
  return judge([&] {
    const Picture picture = decode_picture({data, size}, "picture", limits);
    if (picture.pixels.size() != std::size_t(picture.width) * picture.height * 3) __builtin_trap();
  });
}
