#include "image_io/image.h"

#include <string_view>
#include <utility>

#include "contracts/error.h"
#include "contracts/files.h"
#include "image_io/colour.h"
#include "image_io/decoded.h"
#include "image_io/orientation.h"

namespace refinestyle {
namespace {

using namespace std::string_view_literals;

constexpr char kFormats[] = "a JPEG or PNG picture";
constexpr char kAgain[] = "save or download it again";

constexpr std::string_view kJpegStart = "\xFF\xD8\xFF"sv;
constexpr std::string_view kPngStart = "\x89PNG\r\n\x1A\n"sv;

// First bytes of what people send by mistake, so that the message can name it.
struct Foreign {
  std::string_view start;
  const char* name;
};
constexpr Foreign kForeign[] = {
    {"GIF8"sv, "a GIF"},
    {"BM"sv, "a BMP"},
    {"RIFF"sv, "a WebP or another RIFF file"},
    {"II*\0"sv, "a TIFF"},
    {"MM\0*"sv, "a TIFF"},
    {"%PDF"sv, "a PDF"},
    {"<"sv, "an HTML, SVG or XML page"},
    {"version https://git-lfs"sv, "a Git LFS pointer; the picture itself was not downloaded"},
};

bool starts_with(ByteView data, std::string_view start) {
  return data.text().substr(0, start.size()) == start;
}

DecodedPicture decode_file(ByteView data, const std::string& name, const PictureLimits& limits) {
  if (data.size == 0) {
    throw Error(Status::kMalformed, name + ": the file is empty", "0 bytes", kFormats);
  }
  if (starts_with(data, kJpegStart)) return decode_jpeg(data, name, limits);
  if (starts_with(data, kPngStart)) return decode_png(data, name, limits);
  const char* found = "other data";
  for (const Foreign& foreign : kForeign) {
    if (starts_with(data, foreign.start)) {
      found = foreign.name;
      break;
    }
  }
  throw Error(Status::kMalformed, name + ": not a picture that can be read", found, kFormats);
}

bool is_png_name(const std::string& path) {
  if (path.size() < 4 || path[path.size() - 4] != '.') return false;
  std::string suffix = path.substr(path.size() - 3);
  for (char& ch : suffix) ch = ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch - 'A' + 'a') : ch;
  return suffix == "png";
}

}  // namespace

void check_pixels(std::uint64_t width, std::uint64_t height, const std::string& name,
                  const PictureLimits& limits) {
  if (width * height <= limits.max_pixels) return;  // both below 2^31
  throw Error(Status::kUnsafe, name + ": too large to decode",
              std::to_string(width) + " x " + std::to_string(height) + " pixels",
              "at most " + std::to_string(limits.max_pixels) + " pixels",
              "make it smaller first; a portrait needs no more");
}

Error picture_damaged(const std::string& name, const std::string& found) {
  return {Status::kMalformed, name + ": the picture is damaged", found, kFormats, kAgain};
}

Error picture_ends_early(const std::string& name) {
  return {Status::kMalformed, name + ": the picture ends early", "", "a complete file", kAgain};
}

Picture decode_picture(ByteView data, const std::string& name, const PictureLimits& limits) {
  if (data.size > limits.max_bytes) {
    throw Error(Status::kUnsafe, name + ": too large", std::to_string(data.size) + " bytes",
                "at most " + std::to_string(limits.max_bytes));
  }
  DecodedPicture decoded = decode_file(data, name, limits);
  const int orientation = read_orientation(decoded.exif, decoded.xmp);
  return turn(to_srgb(std::move(decoded), name), orientation);
}

Picture load_picture(const std::string& path, const PictureLimits& limits) {
  return decode_picture(read_file(path, limits.max_bytes, "picture"), path, limits);
}

void write_png(const std::string& path, const std::uint8_t* pixels, int width, int height) {
  if (!is_png_name(path)) {
    throw Error(Status::kUsage, path + ": unknown picture format for the output", "", ".png");
  }
  write_atomic(path, encode_png(pixels, width, height));
}

}  // namespace refinestyle
