// SHA-256 (FIPS 180-4). Own code, because the libraries that have it are larger than this one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "contracts/bytes.h"

namespace refinestyle {

class Sha256 {
 public:
  void update(ByteView data);

  // 64 lower-case hexadecimal digits. Nothing may be added afterwards.
  std::string hex();

 private:
  void compress(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};  // the block that is not full yet
  std::uint64_t size_ = 0;                  // bytes so far
};

std::string sha256_hex(ByteView data);

}  // namespace refinestyle
