#include "image_io/jpeg_header.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "image_io/decoded.h"

namespace refinestyle {
namespace {

using namespace std::string_view_literals;

// Markers, each after a byte of 0xFF.
enum Marker : int {
  kFirst = 0xC0,
  kHuffmanTables = 0xC4,
  kReserved = 0xC8,
  kArithmetic = 0xCC,
  kFirstFrame = 0xC0,
  kLastFrame = 0xCF,
  kRestart0 = 0xD0,
  kEndOfImage = 0xD9,
  kStartOfScan = 0xDA,
  kQuantisation = 0xDB,
  kHierarchical = 0xDE,
  kApp0 = 0xE0,
  kApp1 = 0xE1,
  kApp2 = 0xE2,
  kApp14 = 0xEE,
  kExtension0 = 0xF0,
  kExtension13 = 0xFD,
};

constexpr std::string_view kExif = "Exif\0\0"sv;
constexpr std::string_view kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
constexpr std::string_view kProfile = "ICC_PROFILE\0"sv;
constexpr std::size_t kProfileHead = 14;  // after the name come a number and how many there are

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool is_frame(int marker) {
  return marker == kHierarchical ||
         (marker >= kFirstFrame && marker <= kLastFrame && marker != kHuffmanTables &&
          marker != kReserved && marker != kArithmetic);
}

bool has_segment(int marker) {
  return marker != kReserved && !(marker >= kRestart0 && marker <= kEndOfImage) &&
         !(marker >= kExtension0 && marker <= kExtension13);
}

int number_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]) << 8 | static_cast<unsigned char>(text[at + 1]);
}

class HeaderReader {
 public:
  HeaderReader(std::string_view data, const std::string& name) : rest_(data), name_(name) {}

  JpegHeader read() {
    for (int marker = 0; marker != kStartOfScan;) {
      marker = next_marker();
      if (marker < kFirst) throw picture_damaged(name_, "no marker where one must be");
      if (has_segment(marker)) take(marker, next_segment());
    }
    if (header_.width == 0 || header_.height == 0) throw picture_damaged(name_, "no size");
    return std::move(header_);
  }

 private:
  // Skips what lies between segments: stray bytes, fill bytes and escaped 0xFF.
  int next_marker() {
    for (;;) {
      rest_.remove_prefix(std::min(rest_.find('\xFF'), rest_.size()));
      rest_.remove_prefix(std::min(rest_.find_first_not_of('\xFF'), rest_.size()));
      if (rest_.empty()) throw picture_ends_early(name_);
      const int marker = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      if (marker != 0) return marker;
    }
  }

  std::string_view next_segment() {
    if (rest_.size() < 2) throw picture_ends_early(name_);
    const auto size = static_cast<std::size_t>(std::max(number_at(rest_, 0) - 2, 0));
    rest_.remove_prefix(2);
    if (size > rest_.size()) throw picture_ends_early(name_);
    const std::string_view segment = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return segment;
  }

  void take(int marker, std::string_view segment) {
    if (is_frame(marker)) return take_frame(segment);
    if (marker == kQuantisation) return check_quantisation(segment);
    if (marker == kApp1 && starts_with(segment, kExif)) {
      header_.exif += segment.substr(kExif.size());
    } else if (marker == kApp1 && starts_with(segment, kXmp)) {
      header_.xmp = segment.substr(kXmp.size());
    } else if (marker == kApp2 && starts_with(segment, kProfile)) {
      profile_parts_.push_back(segment);
    }
    const bool has_version = (marker == kApp0 && starts_with(segment, "JFIF")) ||
                             (marker == kApp14 && starts_with(segment, "Adobe"));
    if (has_version && segment.size() < 7) throw picture_damaged(name_, "a short segment");
  }

  void take_frame(std::string_view segment) {
    if (segment.size() < 6 || segment.size() % 3 != 0) {
      throw picture_damaged(name_, "a short frame header");
    }
    if (segment[0] != 8) {
      throw picture_damaged(name_, std::to_string(int{segment[0]}) + "-bit colours");
    }
    header_.height = number_at(segment, 1);
    header_.width = number_at(segment, 3);
    header_.components = static_cast<unsigned char>(segment[5]);
    if (header_.components != 1 && header_.components != 3 && header_.components != 4) {
      throw picture_damaged(name_, std::to_string(header_.components) + " colour components");
    }
    join_profile();
  }

  // A profile is larger than a segment may be, and comes in numbered parts.
  void join_profile() {
    if (profile_parts_.empty()) return;
    std::sort(profile_parts_.begin(), profile_parts_.end());
    const std::string_view first = profile_parts_[0];
    if (first.size() < kProfileHead) throw picture_damaged(name_, "a short colour profile");
    const std::size_t count = static_cast<unsigned char>(first[kProfileHead - 1]);
    header_.profile.clear();
    if (count == profile_parts_.size()) {
      for (const std::string_view part : profile_parts_) {
        header_.profile += part.substr(std::min(kProfileHead, part.size()));
      }
    }
    profile_parts_.clear();
  }

  void check_quantisation(std::string_view segment) {
    while (!segment.empty()) {
      const std::size_t item = static_cast<unsigned char>(segment[0]) < 16 ? 1 : 2;
      const std::size_t size = 1 + 64 * item;
      if (segment.size() < size) throw picture_damaged(name_, "a short quantisation table");
      segment.remove_prefix(size);
    }
  }

  std::string_view rest_;
  const std::string& name_;
  JpegHeader header_;
  std::vector<std::string_view> profile_parts_;
};

}  // namespace

JpegHeader read_jpeg_header(ByteView data, const std::string& name) {
  return HeaderReader(data.from(2).text(), name).read();
}

}  // namespace refinestyle
