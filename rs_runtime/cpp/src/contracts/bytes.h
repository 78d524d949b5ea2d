// The bytes of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace refinestyle {

using Bytes = std::vector<std::uint8_t>;

// Bytes that someone else owns.
struct ByteView {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;

  ByteView() = default;
  ByteView(const std::uint8_t* data, std::size_t size) : data(data), size(size) {}
  ByteView(const Bytes& bytes) : data(bytes.data()), size(bytes.size()) {}  // NOLINT: a view

  std::string_view text() const { return {reinterpret_cast<const char*>(data), size}; }
  ByteView from(std::size_t begin) const { return {data + begin, size - begin}; }
  ByteView first(std::size_t count) const { return {data, count}; }
};

inline ByteView view_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace refinestyle
