// jpeglib.h needs the two before it.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <algorithm>
#include <csetjmp>
#include <utility>

#include "image_io/decoded.h"
#include "image_io/jpeg_header.h"

namespace refinestyle {
namespace {

enum class Outcome { kDone, kEndsEarly, kDamaged };

// libjpeg reports an error by a call that may not return.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf back;
};

[[noreturn]] void on_error(j_common_ptr info) {
  std::longjmp(reinterpret_cast<ErrorManager*>(info->err)->back, 1);
}

// Damaged scans are decoded as far as possible, in silence, as Pillow does.
void on_warning(j_common_ptr, int) {}
void on_output(j_common_ptr) {}

// Pillow gives the decoder a block at a time, and no further one when the last row is there: what
// follows that block may be damaged, and all that follows the row may be missing.
constexpr std::size_t kBlock = 65536;

struct Source {
  jpeg_source_mgr base;
  ByteView rest;  // after the block that the decoder has
};

void do_nothing(j_decompress_ptr) {}

// Without a next block the decoder stops and says that it waits for more.
boolean next_block(j_decompress_ptr info) {
  Source& source = *reinterpret_cast<Source*>(info->src);
  if (source.rest.size == 0) return FALSE;
  source.base.next_input_byte = source.rest.data;
  source.base.bytes_in_buffer = std::min(source.rest.size, kBlock);
  source.rest = source.rest.from(source.base.bytes_in_buffer);
  return TRUE;
}

void skip_data(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  jpeg_source_mgr& source = *info->src;
  auto left = static_cast<std::size_t>(count);
  while (left > source.bytes_in_buffer) {
    left -= source.bytes_in_buffer;
    source.next_input_byte += source.bytes_in_buffer;
    source.bytes_in_buffer = 0;
    if (!next_block(info)) return;
  }
  source.next_input_byte += left;
  source.bytes_in_buffer -= left;
}

class Decoder {
 public:
  explicit Decoder(ByteView data) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_warning;
    errors_.base.output_message = on_output;
    source_.base.init_source = do_nothing;
    source_.base.fill_input_buffer = next_block;
    source_.base.skip_input_data = skip_data;
    source_.base.resync_to_restart = jpeg_resync_to_restart;
    source_.base.term_source = do_nothing;
    source_.rest = data;
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&info_); }

  // Nothing in here may have a destructor: an error jumps out of it.
  Outcome decode(const JpegHeader& header, std::uint8_t* pixels) {
    if (setjmp(errors_.back) != 0) return Outcome::kDamaged;
    jpeg_create_decompress(&info_);
    info_.src = &source_.base;
    int found = JPEG_HEADER_TABLES_ONLY;
    while (found == JPEG_HEADER_TABLES_ONLY) found = jpeg_read_header(&info_, FALSE);
    if (found != JPEG_HEADER_OK) return Outcome::kEndsEarly;
    const bool as_announced = info_.image_width == static_cast<JDIMENSION>(header.width) &&
                              info_.image_height == static_cast<JDIMENSION>(header.height) &&
                              info_.num_components == header.components;
    if (!as_announced) return Outcome::kDamaged;
    info_.out_color_space = header.components == 4 ? JCS_CMYK : JCS_RGB;
    if (!jpeg_start_decompress(&info_)) return Outcome::kEndsEarly;
    const std::size_t stride = std::size_t{info_.output_width} * info_.out_color_components;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + info_.output_scanline * stride;
      if (jpeg_read_scanlines(&info_, &row, 1) != 1) return Outcome::kEndsEarly;
    }
    source_.rest = {};
    jpeg_finish_decompress(&info_);
    return Outcome::kDone;
  }

 private:
  jpeg_decompress_struct info_{};
  ErrorManager errors_{};
  Source source_{};
};

}  // namespace

DecodedPicture decode_jpeg(ByteView data, const std::string& name, const PictureLimits& limits) {
  JpegHeader header = read_jpeg_header(data, name);
  check_pixels(header.width, header.height, name, limits);
  DecodedPicture picture;
  picture.width = header.width;
  picture.height = header.height;
  picture.channels = header.components == 4 ? 4 : 3;
  picture.pixels.resize(std::size_t(header.width) * header.height * picture.channels);
  const Outcome outcome = Decoder(data).decode(header, picture.pixels.data());
  if (outcome == Outcome::kEndsEarly) throw picture_ends_early(name);
  if (outcome == Outcome::kDamaged) throw picture_damaged(name, "an error while decoding");
  if (picture.channels == 4) {
    // Files with four colours come from Adobe's programs, which store how much ink is missing.
    for (std::uint8_t& ink : picture.pixels) ink = 255 - ink;
  }
  picture.profile = std::move(header.profile);
  picture.exif = std::move(header.exif);
  picture.xmp = std::move(header.xmp);
  return picture;
}

}  // namespace refinestyle
