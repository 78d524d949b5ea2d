#ifdef REFINESTYLE_PICTURE_FILES

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "contracts/error.h"
#include "image_io/image.h"
#include "image_io/orientation.h"

using namespace refinestyle;
using namespace std::string_literals;

namespace {

Picture ramp(int width, int height) {
  Picture picture{width, height, {}};
  for (int i = 0; i < width * height * 3; ++i) {
    picture.pixels.push_back(static_cast<std::uint8_t>(i * 7));
  }
  return picture;
}

}  // namespace

TEST_CASE("a PNG holds the pixels it was given") {
  const std::vector<std::pair<int, int>> sizes = {{1, 1}, {3, 5}, {64, 33}};
  for (const auto& [width, height] : sizes) {
    const Picture picture = ramp(width, height);
    const Bytes file = encode_png(picture.pixels.data(), width, height);
    const Picture again = decode_picture(file, "picture");
    CHECK(again.width == width);
    CHECK(again.height == height);
    CHECK(again.pixels == picture.pixels);
  }
}

TEST_CASE("eight turns give eight pictures, and each turned back is the first") {
  constexpr int back[] = {1, 1, 2, 3, 4, 5, 8, 7, 6};
  const Picture picture = ramp(3, 2);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Picture turned = turn(picture, orientation);
    CHECK(turned.width == (orientation < 5 ? 3 : 2));
    CHECK((turned.pixels == picture.pixels) == (orientation == 1));
    CHECK(turn(turned, back[orientation]).pixels == picture.pixels);
  }
}

TEST_CASE("the orientation is read from EXIF, then from XMP") {
  const std::string little = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s;
  const std::string big = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"s;
  const std::string xmp = "<x tiff:Orientation=\"3\">";
  CHECK(read_orientation(little, xmp) == 6);
  CHECK(read_orientation("Exif\0\0"s + big, "") == 8);
  CHECK(read_orientation("", xmp) == 3);
  CHECK(read_orientation("II*\0"s, xmp) == 1);
  CHECK(read_orientation(little.substr(0, 12), "") == 1);
}

TEST_CASE("pictures over the limits are refused before they are decoded") {
  const Picture picture = ramp(10, 10);
  const Bytes file = encode_png(picture.pixels.data(), 10, 10);
  PictureLimits few_pixels, few_bytes;
  few_pixels.max_pixels = 99;
  few_bytes.max_bytes = file.size() - 1;
  CHECK_THROWS_AS(decode_picture(file, "picture", few_pixels), Error);
  CHECK_THROWS_AS(decode_picture(file, "picture", few_bytes), Error);
}

#endif
