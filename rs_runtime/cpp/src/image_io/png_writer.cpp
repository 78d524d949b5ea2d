#include <png.h>

#include <csetjmp>
#include <new>
#include <utility>

#include "contracts/error.h"
#include "image_io/image.h"

namespace refinestyle {
namespace {

class Writer {
 public:
  Writer()
      : png_(png_create_write_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning)),
        info_(png_ == nullptr ? nullptr : png_create_info_struct(png_)) {
    if (info_ == nullptr) throw Error(Status::kResource, "libpng cannot start");
    png_set_write_fn(png_, this, on_write, on_flush);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { png_destroy_write_struct(&png_, &info_); }

  // False when memory ends. Nothing in here may have a destructor: an error jumps out of it.
  bool write(const std::uint8_t* pixels, png_uint_32 width, png_uint_32 height) {
    if (setjmp(back_) != 0) return false;
    png_set_IHDR(png_, info_, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (png_uint_32 y = 0; y < height; ++y) {
      png_write_row(png_, pixels + std::size_t{y} * width * 3);
    }
    png_write_end(png_, nullptr);
    return true;
  }

  Bytes& file() { return file_; }

 private:
  static Writer& of(png_structp png) { return *static_cast<Writer*>(png_get_error_ptr(png)); }
  [[noreturn]] static void on_error(png_structp png, png_const_charp) {
    std::longjmp(of(png).back_, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_write(png_structp png, png_bytep data, std::size_t size) {
    if (!of(png).append(data, size)) png_error(png, "no memory");
  }
  static void on_flush(png_structp) {}

  bool append(const std::uint8_t* data, std::size_t size) noexcept {
    try {
      file_.insert(file_.end(), data, data + size);
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  Bytes file_;
  std::jmp_buf back_;
  png_structp png_;
  png_infop info_;
};

}  // namespace

Bytes encode_png(const std::uint8_t* pixels, int width, int height) {
  if (pixels == nullptr || width < 1 || height < 1) {
    throw Error(Status::kUsage, "this cannot be written as a picture",
                std::to_string(width) + " x " + std::to_string(height), "at least 1 x 1 pixels");
  }
  Writer writer;
  if (!writer.write(pixels, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height))) {
    throw Error(Status::kResource, "the picture cannot be encoded", "not enough memory");
  }
  return std::move(writer.file());
}

}  // namespace refinestyle
