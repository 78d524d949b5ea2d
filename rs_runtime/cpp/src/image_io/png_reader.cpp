#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <csetjmp>
#include <cstring>
#include <string_view>
#include <vector>

#include "image_io/decoded.h"

namespace refinestyle {
namespace {

constexpr std::size_t kSignature = 8;
constexpr std::size_t kChunkFrame = 12;  // length, kind and CRC
constexpr char kRawExif[] = "Raw profile type exif";
constexpr char kXmp[] = "XML:com.adobe.xmp";

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | bytes[3];
}

// Refuses a file whose chunks do not end with IEND, or have another content than their CRC says.
void check_chunks(ByteView data, const std::string& name) {
  std::size_t at = kSignature;
  bool sound = true;
  for (;;) {
    if (data.size < at + kChunkFrame) throw picture_ends_early(name);
    const std::size_t length = big_endian(data.data + at);
    const std::uint8_t* kind = data.data + at + 4;
    if (std::memcmp(kind, "IEND", 4) == 0) break;
    if (length > data.size - at - kChunkFrame) throw picture_ends_early(name);
    const auto is_word = [](std::uint8_t ch) {
      return ch == '_' || (ch < 128 && std::isalnum(ch));
    };
    const auto crc = crc32(0, kind, static_cast<uInt>(4 + length));
    sound = sound && std::all_of(kind, kind + 4, is_word) && crc == big_endian(kind + 4 + length);
    at += kChunkFrame + length;
  }
  if (!sound) throw picture_damaged(name, "a chunk with another content than its checksum says");
}

// Where libpng reads from, and where its errors return to.
class Reader {
 public:
  explicit Reader(ByteView data)
      : left_(data),
        png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning)),
        info_(png_ == nullptr ? nullptr : png_create_info_struct(png_)) {
    if (info_ == nullptr) throw Error(Status::kResource, "libpng cannot start");
    png_set_read_fn(png_, this, on_read);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // Nothing in the next two may have a destructor: an error jumps out of them, and they are false.

  bool read_info() {
    if (setjmp(back_) != 0) return false;
    // The checksums are checked, and the size will be.
    png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_benign_errors(png_, 1);
    png_read_info(png_, info_);
    png_set_strip_16(png_);
    png_set_packing(png_);
    if (color_type() == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    return true;
  }

  bool read_rows(png_bytepp rows) {
    if (setjmp(back_) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, info_);
    return true;
  }

  png_structp png() const { return png_; }
  png_infop info() const { return info_; }
  std::size_t width() const { return png_get_image_width(png_, info_); }
  std::size_t height() const { return png_get_image_height(png_, info_); }
  std::size_t channels() const { return png_get_channels(png_, info_); }
  int bit_depth() const { return png_get_bit_depth(png_, info_); }
  int color_type() const { return png_get_color_type(png_, info_); }

 private:
  static Reader& of(png_structp png) { return *static_cast<Reader*>(png_get_error_ptr(png)); }
  [[noreturn]] static void on_error(png_structp png, png_const_charp) {
    std::longjmp(of(png).back_, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep target, std::size_t size) {
    ByteView& left = of(png).left_;
    if (size > left.size) png_error(png, "ends early");
    std::memcpy(target, left.data, size);
    left = left.from(size);
  }

  ByteView left_;
  std::jmp_buf back_;
  png_structp png_;
  png_infop info_;
};

// ------------------------------------------------------------------------------ samples to RGB

struct Pixel {
  std::uint8_t red, green, blue, alpha;
};

// The colours that a palette index, or a grey level, stands for.
std::vector<Pixel> colours_of(const Reader& reader) {
  std::vector<Pixel> colours(256);
  for (int i = 0; i < 256; ++i) {
    const auto level = static_cast<std::uint8_t>(i);
    colours[i] = {level, level, level, 255};
  }
  if (reader.color_type() != PNG_COLOR_TYPE_PALETTE) return colours;
  png_colorp palette = nullptr;
  png_bytep alphas = nullptr;
  int count = 0, alpha_count = 0;
  if (png_get_PLTE(reader.png(), reader.info(), &palette, &count) == 0) return colours;
  for (int i = 0; i < 256; ++i) {
    colours[i] = i < count ? Pixel{palette[i].red, palette[i].green, palette[i].blue, 255}
                           : Pixel{0, 0, 0, 255};
  }
  if (png_get_tRNS(reader.png(), reader.info(), &alphas, &alpha_count, nullptr) != 0) {
    for (int i = 0; i < std::min(alpha_count, 256); ++i) colours[i].alpha = alphas[i];
  }
  return colours;
}

// The one colour that a file without alpha may call transparent, in samples of 8 bits. Pillow
// compares the low bytes, also where there are more or fewer bits; 16-bit grey has none.
struct TransparentColour {
  bool any = false;
  std::uint8_t red = 0, green = 0, blue = 0;
};

TransparentColour transparent_colour_of(const Reader& reader, int file_depth) {
  png_color_16p colour = nullptr;
  const auto low = [](png_uint_16 sample) { return static_cast<std::uint8_t>(sample & 255); };
  if (png_get_tRNS(reader.png(), reader.info(), nullptr, nullptr, &colour) == 0) return {};
  if (reader.color_type() == PNG_COLOR_TYPE_RGB) {
    return {true, low(colour->red), low(colour->green), low(colour->blue)};
  }
  if (reader.color_type() != PNG_COLOR_TYPE_GRAY || file_depth == 16) return {};
  const std::uint8_t grey = file_depth > 1 ? low(colour->gray) : colour->gray != 0 ? 255 : 0;
  return {true, grey, grey, grey};
}

std::uint8_t over_white(std::uint8_t level, std::uint8_t alpha) {
  return static_cast<std::uint8_t>((level * alpha + 255 * (255 - alpha) + 127) / 255);
}

void flatten(const Reader& reader, const TransparentColour& hole, const Bytes& samples,
             Bytes& pixels) {
  const std::vector<Pixel> colours = colours_of(reader);
  const std::size_t channels = reader.channels();
  std::uint8_t* out = pixels.data();
  for (std::size_t at = 0; at < samples.size(); at += channels, out += 3) {
    const std::uint8_t* in = samples.data() + at;
    Pixel pixel = channels < 3 ? colours[in[0]] : Pixel{in[0], in[1], in[2], 255};
    if (channels % 2 == 0) pixel.alpha = in[channels - 1];
    const bool is_hole =
        hole.any && pixel.red == hole.red && pixel.green == hole.green && pixel.blue == hole.blue;
    if (is_hole) pixel.alpha = 0;
    out[0] = over_white(pixel.red, pixel.alpha);
    out[1] = over_white(pixel.green, pixel.alpha);
    out[2] = over_white(pixel.blue, pixel.alpha);
  }
}

// ------------------------------------------------------------------------------------ metadata

// Text by keyword, or empty; of several the last.
std::string_view text_of(const Reader& reader, const char* keyword) {
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(reader.png(), reader.info(), &texts, &count);
  for (int i = count - 1; i >= 0; --i) {
    if (std::strcmp(texts[i].key, keyword) == 0 && texts[i].text != nullptr) return texts[i].text;
  }
  return {};
}

// ImageMagick's form: an empty line, the kind, the size, then hexadecimal digits in lines.
std::string exif_from_text(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return "";
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char ch : text) {
    if (std::isxdigit(static_cast<unsigned char>(ch)) == 0) continue;
    const int digit = ch <= '9' ? ch - '0' : (ch | 32) - 'a' + 10;
    if (high >= 0) bytes.push_back(static_cast<char>(high << 4 | digit));
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

std::string exif_of(const Reader& reader) {
  png_uint_32 size = 0;
  png_bytep data = nullptr;
  if (png_get_eXIf_1(reader.png(), reader.info(), &size, &data) != 0) {
    return {reinterpret_cast<const char*>(data), size};
  }
  return exif_from_text(text_of(reader, kRawExif));
}

std::string profile_of(const Reader& reader) {
  png_charp profile_name = nullptr;
  png_bytep profile = nullptr;
  png_uint_32 size = 0;
  int compression = 0;
  if (png_get_iCCP(reader.png(), reader.info(), &profile_name, &compression, &profile, &size) == 0)
    return "";
  return {reinterpret_cast<const char*>(profile), size};
}

}  // namespace

DecodedPicture decode_png(ByteView data, const std::string& name, const PictureLimits& limits) {
  check_chunks(data, name);
  Reader reader(data);
  if (!reader.read_info()) throw picture_damaged(name, "an error in the header");
  check_pixels(reader.width(), reader.height(), name, limits);
  const int file_depth = reader.bit_depth();
  const bool is_deep_grey = reader.color_type() == PNG_COLOR_TYPE_GRAY && file_depth == 16;

  Bytes samples(reader.width() * reader.height() * reader.channels());
  std::vector<png_bytep> rows(reader.height());
  for (std::size_t y = 0; y < rows.size(); ++y) {
    rows[y] = samples.data() + y * reader.width() * reader.channels();
  }
  if (!reader.read_rows(rows.data())) throw picture_damaged(name, "an error while decoding");

  DecodedPicture picture;
  picture.width = static_cast<int>(reader.width());
  picture.height = static_cast<int>(reader.height());
  picture.pixels.resize(reader.width() * reader.height() * 3);
  flatten(reader, transparent_colour_of(reader, file_depth), samples, picture.pixels);
  if (!is_deep_grey) picture.profile = profile_of(reader);
  picture.exif = exif_of(reader);
  picture.xmp = text_of(reader, kXmp);
  return picture;
}

}  // namespace refinestyle
