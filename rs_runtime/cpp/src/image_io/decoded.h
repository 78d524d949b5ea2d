// What a decoder makes of a file, before colours and orientation are put right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "contracts/bytes.h"
#include "contracts/error.h"
#include "image_io/image.h"

namespace refinestyle {

struct DecodedPicture {
  int width = 0, height = 0;
  int channels = 3;     // 3: RGB, 4: CMYK, 0 without ink
  Bytes pixels;         // rows from the top
  std::string profile;  // embedded ICC profile, or empty
  std::string exif;     // TIFF data, perhaps after "Exif\0\0", or empty
  std::string xmp;      // XML text, or empty
};

// Both take the whole file, whose first bytes are their format's.
DecodedPicture decode_jpeg(ByteView data, const std::string& name, const PictureLimits& limits);
DecodedPicture decode_png(ByteView data, const std::string& name, const PictureLimits& limits);

// Throws kUnsafe for more pixels than the limit.
void check_pixels(std::uint64_t width, std::uint64_t height, const std::string& name,
                  const PictureLimits& limits);

// The refusals of a damaged file.
Error picture_damaged(const std::string& name, const std::string& found);
Error picture_ends_early(const std::string& name);

}  // namespace refinestyle
