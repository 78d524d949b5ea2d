// The part of a JPEG file before its first scan: the size, and what is said about the colours.
#pragma once

#include <string>

#include "contracts/bytes.h"

namespace refinestyle {

struct JpegHeader {
  int width = 0, height = 0;
  int components = 0;  // 1 grey, 3 colour, 4 CMYK
  std::string exif, xmp, profile;
};

// Throws kMalformed where Pillow refuses, which is in more places than libjpeg does.
JpegHeader read_jpeg_header(ByteView data, const std::string& name);

}  // namespace refinestyle
