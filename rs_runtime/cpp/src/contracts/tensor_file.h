// The strict container under a token set: a safetensors file with exactly one canonical writing.
//
// An 8-byte little-endian header length, a JSON header that names dtype, shape and byte range of
// every tensor, and the bytes. Tensors are sorted by name, without gaps, with one metadata entry,
// the header padded with spaces to a multiple of eight.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "contracts/bytes.h"

namespace refinestyle {

struct TensorEntry {
  std::string name;
  std::string dtype;                 // F16 or F32
  std::vector<std::uint64_t> shape;  // 1 to 4 sides, each at least 1
  std::uint64_t begin, end;          // bytes in the data part
};

struct Container {
  std::string metadata;              // the one metadata string
  std::vector<TensorEntry> entries;  // sorted by name, without gaps
  ByteView payload;                  // the data part
};

// Bytes of one number; 0 for an unknown dtype.
std::uint64_t item_bytes(const std::string& dtype);

// Numbers in a tensor, at most 2^48: more stands for any such size.
std::uint64_t volume(const std::vector<std::uint64_t>& shape);

// Returns the canonical header, padded, without its length. The metadata is UTF-8.
std::string build_header(const std::string& metadata, const std::vector<TensorEntry>& entries);

// Parses a file; throws kMalformed for everything that is not its canonical writing. The result
// points into `data`.
Container parse_container(ByteView data, const std::string& what);

}  // namespace refinestyle
