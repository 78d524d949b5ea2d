// The rules a token set obeys: its metadata fields, its groups, and how it fits a layer table.
//
// Checked when a set is written and when it is read; a set that breaks one is never on disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "contracts/layers.h"
#include "contracts/strict_json.h"
#include "contracts/tensor_file.h"

namespace refinestyle {

inline constexpr char kTokenVersion[] = "1.0";

struct TokenMetadata {
  std::string dtype, fingerprint, kind, layer_table, licence, name;
  std::int64_t rank;
  std::string sha256, source, version;
};

Json to_json(const TokenMetadata& metadata);

// Checks every field by itself, the version first: it decides what the others are. Throws
// kMalformed, or kIncompatible for another major version.
TokenMetadata read_token_metadata(const Json& value, const std::string& what);

// Checks what holds without a layer table: known names, whole pairs, dimensions, rank.
void check_groups(const std::vector<TensorEntry>& entries, const TokenMetadata& metadata,
                  const std::string& what);

// Checks layer names, shapes and completeness against the generator's layers. Throws kIncompatible
// for shapes that do not fit, kMalformed for a group that is incomplete.
void check_table(const std::vector<TensorEntry>& entries, const LayerTable& table,
                 const std::string& what);

// The two parts of a tensor's name: "b8.conv0" and "P"; of "w_plus" the first is empty.
struct TokenTensorName {
  std::string layer, group;
};
TokenTensorName split_name(const std::string& name);

// Returns the nearest valid name of a token set: 1 to 64 letters and digits of any script, spaces
// and _ . + -, no dot or space at either end. It is a label, never a path.
std::string clean_name(const std::string& text);

}  // namespace refinestyle
