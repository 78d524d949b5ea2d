// Pictures in and out: JPEG and PNG files become sRGB uint8 [H, W, 3] and back to PNG.
//
// Rules: EXIF orientation applied, alpha over white, 16 bits by >> 8, first frame, colour profile
// to sRGB. Sizes are checked from the header before anything is decoded. Nothing but pixels is
// written.
#pragma once

#include <cstdint>
#include <string>

#include "contracts/bytes.h"

namespace refinestyle {

struct Picture {
  int width = 0, height = 0;
  Bytes pixels;  // RGB, rows from the top, height * width * 3 bytes
};

struct PictureLimits {
  std::uint64_t max_pixels = 64'000'000;  // largest width x height that is decoded
  std::uint64_t max_bytes = 64'000'000;   // largest file that is read
};

// Throws kMalformed for what is no JPEG or PNG or is damaged, kUnsafe beyond the limits. `name`
// stands for the picture in messages.
Picture decode_picture(ByteView data, const std::string& name, const PictureLimits& limits = {});

// Reads a file; also throws kUsage without one.
Picture load_picture(const std::string& path, const PictureLimits& limits = {});

// pixels: RGB as in Picture.
Bytes encode_png(const std::uint8_t* pixels, int width, int height);

// Writes a PNG completely or not at all. Throws kUsage for a suffix other than .png, kResource when
// it cannot be written.
void write_png(const std::string& path, const std::uint8_t* pixels, int width, int height);

}  // namespace refinestyle
