#include "image_io/orientation.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace refinestyle {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kOrientationTag = 0x0112;
constexpr std::size_t kEntryBytes = 12;
constexpr std::size_t kInlineBytes = 4;

// Bytes of one value of a TIFF type, 0 for unknown types; and whether it is an integer.
std::uint64_t value_bytes(std::uint64_t type) {
  constexpr std::uint64_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
  return type < sizeof sizes / sizeof sizes[0] ? sizes[type] : 0;
}
bool is_integer(std::uint64_t type) {
  return type == 3 || type == 4 || type == 6 || type == 8 || type == 9 || type == 13 || type == 16;
}

class Tiff {
 public:
  explicit Tiff(std::string_view data) : data_(data), little_(data.substr(0, 2) == "II") {}

  bool is_valid() const {
    const std::string_view mark = data_.substr(0, 4);
    const bool known =
        mark == "II*\0"sv || mark == "II\0*"sv || mark == "MM\0*"sv || mark == "MM*\0"sv;
    return known && data_.size() >= 8;
  }

  // The orientation in the first directory: none where the tag is missing, 1 where it is no
  // integer.
  std::optional<int> orientation() const {
    const std::uint64_t directory = number(4, 4);
    if (!has(directory, 2)) return std::nullopt;
    const std::uint64_t count = number(directory, 2);
    std::uint64_t outside = 0;  // bytes of all values that lie elsewhere
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t entry = directory + 2 + i * kEntryBytes;
      if (!has(entry, kEntryBytes)) return std::nullopt;
      const std::uint64_t type = number(entry + 2, 2);
      const std::uint64_t size = number(entry + 4, 4) * value_bytes(type);
      if (size == 0) continue;
      std::uint64_t at = entry + 8;
      if (size > kInlineBytes) {
        outside += size;
        if (outside > data_.size()) continue;
        at = number(at, 4);
        if (!has(at, size)) return std::nullopt;  // Pillow reads no further
      }
      if (number(entry, 2) != kOrientationTag) continue;
      const std::uint64_t value = is_integer(type) ? number(at, value_bytes(type)) : 1;
      return value <= 8 ? static_cast<int>(value) : 1;
    }
    return std::nullopt;
  }

 private:
  bool has(std::uint64_t at, std::uint64_t size) const {
    return at <= data_.size() && size <= data_.size() - at;
  }
  std::uint64_t number(std::uint64_t at, std::uint64_t size) const {
    std::uint64_t value = 0;
    for (std::uint64_t i = 0; i < size; ++i) {
      value = value << 8 | static_cast<unsigned char>(data_[at + (little_ ? size - 1 - i : i)]);
    }
    return value;
  }

  std::string_view data_;
  bool little_;
};

int orientation_in_xmp(std::string_view xmp) {
  constexpr std::string_view key = "tiff:Orientation";
  for (std::size_t at = xmp.find(key); at != xmp.npos; at = xmp.find(key, at + 1)) {
    std::string_view value = xmp.substr(at + key.size());
    if (value.substr(0, 2) == "=\"")
      value.remove_prefix(2);
    else if (value.substr(0, 1) == ">")
      value.remove_prefix(1);
    else
      continue;
    if (!value.empty() && value[0] >= '0' && value[0] <= '9') return value[0] - '0';
  }
  return 1;
}

}  // namespace

int read_orientation(std::string_view exif, std::string_view xmp) {
  constexpr std::string_view head = "Exif\0\0"sv;
  for (int i = 0; i < 2 && exif.substr(0, head.size()) == head; ++i)
    exif.remove_prefix(head.size());
  if (!exif.empty()) {
    const Tiff tiff(exif);
    if (!tiff.is_valid()) return 1;
    if (const auto found = tiff.orientation()) return *found;
  }
  return orientation_in_xmp(xmp);
}

Picture turn(Picture stored, int orientation) {
  if (orientation < 2 || orientation > 8) return stored;
  const bool swaps = orientation >= 5;
  const bool mirrors_x = orientation == 2 || orientation == 3 || orientation >= 7;
  const bool mirrors_y =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Picture seen;
  seen.width = swaps ? stored.height : stored.width;
  seen.height = swaps ? stored.width : stored.height;
  seen.pixels.reserve(stored.pixels.size());
  for (int y = 0; y < seen.height; ++y) {
    for (int x = 0; x < seen.width; ++x) {
      const int along = swaps ? y : x;
      const int down = swaps ? x : y;
      const std::size_t column = mirrors_x ? stored.width - 1 - along : along;
      const std::size_t row = mirrors_y ? stored.height - 1 - down : down;
      const auto pixel =
          stored.pixels.begin() + static_cast<std::ptrdiff_t>((row * stored.width + column) * 3);
      seen.pixels.insert(seen.pixels.end(), pixel, pixel + 3);
    }
  }
  return seen;
}

}  // namespace refinestyle
