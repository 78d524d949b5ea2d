#include "contracts/tokens.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "contracts/error.h"
#include "contracts/files.h"
#include "contracts/half.h"
#include "contracts/sha256.h"
#include "contracts/strict_json.h"
#include "contracts/tensor_file.h"
#include "contracts/token_rules.h"

namespace refinestyle {
namespace {

constexpr std::uint64_t kMaxFileBytes = 20'000'000;
constexpr float kMaxValue = 1e6f;

std::string name_of(TokenDtype dtype) { return dtype == TokenDtype::kF16 ? "F16" : "F32"; }

bool is_allowed(float value) { return std::fabs(value) <= kMaxValue; }  // false for NaN

std::string text_of(float value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

Error bad_value(Status status, const std::string& name, std::size_t at, float value) {
  return {status, name + ": a value that is not finite or too large",
          text_of(value) + " at " + std::to_string(at), "at most 1e+06 in size"};
}

// The hash of a set is over its file with the hash itself as zeros, without the length.
std::string content_hash(TokenMetadata metadata, const std::vector<TensorEntry>& entries,
                         ByteView payload) {
  metadata.sha256.assign(64, '0');
  Sha256 digest;
  digest.update(view_of(build_header(canonical_json(to_json(metadata)), entries)));
  digest.update(payload);
  return digest.hex();
}

// ----------------------------------------------------------------------------------- writing

std::map<std::string, const Array*> tensors_of(const TokenSet& set) {
  std::map<std::string, const Array*> tensors;
  const auto add = [&tensors](const std::map<std::string, Array>& group, const char* name) {
    for (const auto& [layer, array] : group) tensors[layer + "/" + name] = &array;
  };
  add(set.P, "P");
  add(set.Q, "Q");
  add(set.style_offset, "style_offset");
  add(set.modulation, "modulation");
  if (set.w_plus) tensors["w_plus"] = &*set.w_plus;
  return tensors;
}

void append_little_endian(Bytes& bytes, std::uint32_t number, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(number >> 8 * i));
  }
}

void append_values(Bytes& bytes, const std::vector<float>& values, TokenDtype dtype,
                   const std::string& name) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!is_allowed(values[i])) throw bad_value(Status::kNumerics, name, i, values[i]);
    if (dtype == TokenDtype::kF32) {
      std::uint32_t bits;
      std::memcpy(&bits, &values[i], sizeof bits);
      append_little_endian(bytes, bits, 4);
      continue;
    }
    const std::uint16_t half = float_to_half(values[i]);
    if (std::isinf(half_to_float(half))) {
      throw Error(Status::kNumerics, name + " does not fit F16", text_of(values[i]), "",
                  "store it as F32");
    }
    append_little_endian(bytes, half, 2);
  }
}

std::vector<TensorEntry> place_tensors(const std::map<std::string, const Array*>& tensors,
                                       const std::string& dtype) {
  std::vector<TensorEntry> entries;
  std::uint64_t begin = 0;
  for (const auto& [name, array] : tensors) {
    const std::vector<std::uint64_t> shape(array->shape.begin(), array->shape.end());
    const bool has_sides =
        std::all_of(shape.begin(), shape.end(), [](auto side) { return side > 0; });
    if (shape.empty() || !has_sides || volume(shape) != array->values.size()) {
      throw Error(Status::kUsage, name + ": its shape is not that of its values",
                  std::to_string(array->values.size()) + " values", Json(shape).dump());
    }
    const std::uint64_t end = begin + array->values.size() * item_bytes(dtype);
    entries.push_back({name, dtype, shape, begin, end});
    begin = end;
  }
  return entries;
}

// ----------------------------------------------------------------------------------- reading

void check_hash(const Container& container, const TokenMetadata& metadata,
                const std::string& what) {
  if (canonical_json(to_json(metadata)) != container.metadata) {
    throw Error(Status::kMalformed, what + ": its metadata is not in canonical form");
  }
  const std::string digest = content_hash(metadata, container.entries, container.payload);
  if (digest != metadata.sha256) {
    throw Error(Status::kMalformed, what + ": its content does not match its own SHA-256", digest,
                metadata.sha256, "the file is damaged or was edited; get it again");
  }
}

void check_dtypes(const Container& container, const TokenMetadata& metadata,
                  const std::string& what) {
  for (const TensorEntry& entry : container.entries) {
    if (entry.dtype != metadata.dtype) {
      throw Error(Status::kMalformed, what + ": " + entry.name + " is not of the stated dtype",
                  entry.dtype, metadata.dtype);
    }
  }
}

void check_origin(const char* field, const std::string& found, const std::string& wanted,
                  const std::string& what) {
  if (wanted.empty() || found == wanted) return;
  throw Error(Status::kIncompatible, what + ": made for another generator",
              field + found.substr(0, 16) + "…", wanted.substr(0, 16) + "…",
              "use the bundle it was made with, or make it again for this one");
}

std::vector<float> read_values(const TensorEntry& entry, ByteView payload,
                               const std::string& name) {
  const std::uint64_t step = item_bytes(entry.dtype);
  std::vector<float> values(static_cast<std::size_t>((entry.end - entry.begin) / step));
  const std::uint8_t* from = payload.data + entry.begin;
  for (std::size_t i = 0; i < values.size(); ++i, from += step) {
    const std::uint32_t low = from[0] | std::uint32_t{from[1]} << 8;
    if (step == 2) {
      values[i] = half_to_float(static_cast<std::uint16_t>(low));
    } else {
      const std::uint32_t bits = low | std::uint32_t{from[2]} << 16 | std::uint32_t{from[3]} << 24;
      std::memcpy(&values[i], &bits, sizeof bits);
    }
    if (!is_allowed(values[i])) throw bad_value(Status::kMalformed, name, i, values[i]);
  }
  return values;
}

TokenSet to_token_set(const Container& container, const TokenMetadata& metadata,
                      const std::string& what) {
  TokenSet set;
  set.kind = metadata.kind == "image" ? TokenKind::kImage : TokenKind::kDomain;
  set.name = metadata.name;
  set.source = metadata.source;
  set.licence = metadata.licence;
  set.fingerprint = metadata.fingerprint;
  set.table_hash = metadata.layer_table;
  set.dtype = metadata.dtype == "F16" ? TokenDtype::kF16 : TokenDtype::kF32;
  for (const TensorEntry& entry : container.entries) {
    Array array{{entry.shape.begin(), entry.shape.end()},
                read_values(entry, container.payload, what + ": " + entry.name)};
    const auto [layer, group] = split_name(entry.name);
    if (group == "w_plus")
      set.w_plus = std::move(array);
    else if (group == "P")
      set.P[layer] = std::move(array);
    else if (group == "Q")
      set.Q[layer] = std::move(array);
    else if (group == "style_offset")
      set.style_offset[layer] = std::move(array);
    else
      set.modulation[layer] = std::move(array);
  }
  return set;
}

}  // namespace

std::size_t TokenSet::rank() const {
  std::size_t largest = 0;
  for (const auto& [layer, factor] : P) {
    if (!factor.shape.empty()) largest = std::max(largest, factor.shape[0]);
  }
  return largest;
}

Bytes encode_token_set(const TokenSet& set) {
  const std::map<std::string, const Array*> tensors = tensors_of(set);
  TokenMetadata metadata{name_of(set.dtype),
                         set.fingerprint,
                         set.kind == TokenKind::kImage ? "image" : "domain",
                         set.table_hash,
                         set.licence,
                         set.name,
                         static_cast<std::int64_t>(set.rank()),
                         std::string(64, '0'),
                         set.source,
                         kTokenVersion};
  Bytes payload;
  for (const auto& [name, array] : tensors) {
    append_values(payload, array->values, set.dtype, set.name + ": " + name);
  }
  std::vector<TensorEntry> entries = place_tensors(tensors, metadata.dtype);
  try {
    read_token_metadata(to_json(metadata), "the token set");
    check_groups(entries, metadata, "the set");
  } catch (const Error& error) {
    throw Error(Status::kUsage, error.failed, error.found, error.expected);
  }
  metadata.sha256 = content_hash(metadata, entries, payload);
  const std::string header = build_header(canonical_json(to_json(metadata)), entries);
  Bytes data;
  append_little_endian(data, static_cast<std::uint32_t>(header.size()), 4);
  append_little_endian(data, 0, 4);
  data.insert(data.end(), header.begin(), header.end());
  data.insert(data.end(), payload.begin(), payload.end());
  if (data.size() > kMaxFileBytes) {
    throw Error(Status::kUsage, set.name + ": the token set is too large for a file",
                std::to_string(data.size()) + " bytes", "at most " + std::to_string(kMaxFileBytes),
                "store it as F16 or lower its rank");
  }
  return data;
}

void write_token_set(const std::string& path, const TokenSet& set) {
  write_atomic(path, encode_token_set(set));
}

TokenSet TokenReader::decode(ByteView data, const std::string& name) const {
  const Container container = parse_container(data, name);
  const Json value = parse_json(container.metadata, name + ": metadata");
  const TokenMetadata metadata = read_token_metadata(value, name);
  check_hash(container, metadata, name);
  check_groups(container.entries, metadata, name);
  check_dtypes(container, metadata, name);
  if (!allow_foreign) {
    check_origin("fingerprint ", metadata.fingerprint, fingerprint, name);
    if (table != nullptr) check_origin("layer table ", metadata.layer_table, table->hash(), name);
  }
  if (table != nullptr) check_table(container.entries, *table, name);
  return to_token_set(container, metadata, name);
}

TokenSet TokenReader::read(const std::string& path) const {
  return decode(read_file(path, kMaxFileBytes, "token set"), path);
}

}  // namespace refinestyle
