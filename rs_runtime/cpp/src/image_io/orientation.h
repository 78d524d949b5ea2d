// How a camera was held: the orientation 1 to 8 of EXIF, and pictures turned by it.
#pragma once

#include <string_view>

#include "image_io/image.h"

namespace refinestyle {

// exif: TIFF data, perhaps after "Exif\0\0"; xmp: XML text, asked where EXIF is silent. Returns 1,
// upright, for data that cannot be read: that is no reason to refuse a picture.
int read_orientation(std::string_view exif, std::string_view xmp);

// Returns the picture as it was seen.
Picture turn(Picture stored, int orientation);

}  // namespace refinestyle
