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

void do_nothing(j_decompress_ptr) {}

// Stops the decoder, which then says that it waits for more: the file ends early.
boolean no_more_data(j_decompress_ptr) { return FALSE; }

void skip_data(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  const std::size_t step = std::min(static_cast<std::size_t>(count), info->src->bytes_in_buffer);
  info->src->next_input_byte += step;
  info->src->bytes_in_buffer -= step;
}

class Decoder {
 public:
  explicit Decoder(ByteView data) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_warning;
    errors_.base.output_message = on_output;
    source_.next_input_byte = data.data;
    source_.bytes_in_buffer = data.size;
    source_.init_source = do_nothing;
    source_.fill_input_buffer = no_more_data;
    source_.skip_input_data = skip_data;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = do_nothing;
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&info_); }

  // Nothing in here may have a destructor: an error jumps out of it.
  Outcome decode(const JpegHeader& header, std::uint8_t* pixels) {
    if (setjmp(errors_.back) != 0) return Outcome::kDamaged;
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    if (jpeg_read_header(&info_, TRUE) != JPEG_HEADER_OK) return Outcome::kEndsEarly;
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
    return jpeg_finish_decompress(&info_) ? Outcome::kDone : Outcome::kEndsEarly;
  }

 private:
  jpeg_decompress_struct info_{};
  ErrorManager errors_{};
  jpeg_source_mgr source_{};
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
