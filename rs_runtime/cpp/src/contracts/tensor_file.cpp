#include "contracts/tensor_file.h"

#include <algorithm>
#include <utility>

#include "contracts/error.h"
#include "contracts/fields.h"
#include "contracts/strict_json.h"

namespace refinestyle {
namespace {

constexpr char kMetadata[] = "__metadata__";
constexpr char kMetadataKey[] = "refinestyle";
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 1'000'000;
constexpr std::size_t kMaxTensors = 4096;
constexpr std::size_t kMaxDims = 4;
constexpr std::int64_t kMaxSide = 1 << 24;
constexpr std::size_t kMaxName = 128;
constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 48;

Error refusal(const std::string& what, const std::string& problem, std::string found,
              std::string expected = "") {
  return {Status::kMalformed, what + ": " + problem, std::move(found), std::move(expected)};
}

std::string size_text(std::uint64_t size) { return std::to_string(size) + " bytes"; }

bool is_tensor_name(const std::string& name) {
  const auto known = [](char ch) {
    return (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
           ch == '_' || ch == '.' || ch == '/' || ch == '-';
  };
  return !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), known) &&
         name.find("..") == name.npos;
}

std::string read_metadata(const Json& tree, const std::string& what) {
  if (!tree.contains(kMetadata)) {
    throw refusal(what, "its header has no metadata", "", "the entry 'refinestyle'");
  }
  const Json& metadata = tree[kMetadata];
  check_object(metadata, what + ": its metadata entries", {kMetadataKey});
  const Json& text = metadata[kMetadataKey];
  if (!text.is_string()) {
    throw refusal(what, "its metadata entry is not text", text.type_name(), "a string");
  }
  return text;
}

std::vector<std::uint64_t> read_integers(const Json& list, const std::string& where,
                                         std::int64_t low, std::int64_t high) {
  std::vector<std::uint64_t> numbers;
  for (const Json& number : list) {
    numbers.push_back(static_cast<std::uint64_t>(check_integer(number, where, low, high)));
  }
  return numbers;
}

TensorEntry read_entry(const std::string& name, const Json& fields, const std::string& what) {
  check_object(fields, what + ": " + name, {"dtype", "shape", "data_offsets"});
  const Json& dtype = fields["dtype"];
  if (!dtype.is_string() || item_bytes(dtype) == 0) {
    throw refusal(what, "dtype of " + name, dtype.dump(-1, ' ', true).substr(0, 40), "F16 or F32");
  }
  const std::string sides = what + ": sides of " + name;
  check_list(fields["shape"], sides, 1);
  if (fields["shape"].size() > kMaxDims) {
    throw refusal(what, "number of sides of " + name, std::to_string(fields["shape"].size()),
                  "1 to " + std::to_string(kMaxDims));
  }
  const std::string range = what + ": offsets of " + name;
  check_list(fields["data_offsets"], range, 2);
  if (fields["data_offsets"].size() > 2) {
    throw refusal(what, "offsets of " + name, std::to_string(fields["data_offsets"].size()), "two");
  }
  auto shape = read_integers(fields["shape"], sides, 1, kMaxSide);
  const auto offsets = read_integers(fields["data_offsets"], range, 0, kMaxOffset - 1);
  return {name, dtype, std::move(shape), offsets[0], offsets[1]};
}

std::vector<TensorEntry> read_entries(const Json& tree, const std::string& what) {
  std::vector<TensorEntry> entries;
  std::uint64_t begin = 0;
  for (const auto& [name, fields] : tree.items()) {
    if (name == kMetadata) continue;
    if (!is_tensor_name(name)) {
      throw refusal(what, "a tensor name", "'" + name.substr(0, 140) + "'",
                    "letters, digits, _ . / -");
    }
    TensorEntry entry = read_entry(name, fields, what);
    if (entry.begin != begin) {
      const bool gap = entry.begin > begin;
      throw refusal(what, name + (gap ? " leaves a gap before it" : " overlaps the tensor before"),
                    "offset " + std::to_string(entry.begin), std::to_string(begin));
    }
    const std::uint64_t size = volume(entry.shape) * item_bytes(entry.dtype);
    if (entry.end < begin || entry.end - begin != size) {
      throw refusal(what, "byte range of " + name,
                    std::to_string(begin) + " to " + std::to_string(entry.end), size_text(size));
    }
    begin = entry.end;
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::uint64_t read_length(ByteView data, const std::string& what) {
  if (data.size < kLengthBytes) {
    throw refusal(what, "it ends before its header length", size_text(data.size), "8 or more");
  }
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | data.data[i];
  if (length > kMaxHeaderBytes) {
    throw refusal(what, "its header is too large", std::to_string(length),
                  "at most " + std::to_string(kMaxHeaderBytes));
  }
  if (length > data.size - kLengthBytes) {
    throw refusal(what, "it ends inside its header", size_text(data.size - kLengthBytes),
                  std::to_string(length));
  }
  return length;
}

}  // namespace

std::uint64_t item_bytes(const std::string& dtype) {
  if (dtype == "F32") return 4;
  return dtype == "F16" ? 2 : 0;
}

std::uint64_t volume(const std::vector<std::uint64_t>& shape) {
  std::uint64_t product = 1;
  for (const std::uint64_t side : shape) {
    if (product > kMaxOffset / side) return kMaxOffset;
    product *= side;
  }
  return product;
}

std::string build_header(const std::string& metadata, const std::vector<TensorEntry>& entries) {
  // By hand, because the order of the fields is part of the format.
  std::string header =
      "{\"__metadata__\":" + canonical_json(Json::object({{kMetadataKey, metadata}}));
  for (const TensorEntry& entry : entries) {
    header += ",\"" + entry.name + "\":{\"dtype\":\"" + entry.dtype +
              "\",\"shape\":" + canonical_json(entry.shape) +
              ",\"data_offsets\":" + canonical_json(Json::array({entry.begin, entry.end})) + "}";
  }
  header += "}";
  return header.append((8 - header.size() % 8) % 8, ' ');
}

Container parse_container(ByteView data, const std::string& what) {
  const std::uint64_t length = read_length(data, what);
  const std::string_view header = data.from(kLengthBytes).first(length).text();
  if (header.substr(0, 1) != "{") {
    throw refusal(what, "its header does not start with {", std::string(header.substr(0, 1)),
                  "'{'");
  }
  const Json tree = parse_json(header, what + ": header");
  std::string metadata = read_metadata(tree, what);
  if (tree.size() < 2 || tree.size() - 1 > kMaxTensors) {
    throw refusal(what, "its number of tensors", std::to_string(tree.size() - 1),
                  "1 to " + std::to_string(kMaxTensors));
  }
  const ByteView payload = data.from(kLengthBytes + length);
  std::vector<TensorEntry> entries = read_entries(tree, what);
  const std::uint64_t stated = entries.back().end;
  if (payload.size != stated) {
    throw refusal(what, payload.size < stated ? "it ends inside its data" : "bytes follow its data",
                  size_text(payload.size), std::to_string(stated));
  }
  if (header != build_header(metadata, entries)) {
    throw refusal(what, "its header is not in canonical form", "another writing of it");
  }
  return {std::move(metadata), std::move(entries), payload};
}

}  // namespace refinestyle
