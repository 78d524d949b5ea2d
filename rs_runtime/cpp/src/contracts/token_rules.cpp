#include "contracts/token_rules.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "contracts/error.h"
#include "contracts/fields.h"
#include "contracts/unicode.h"

namespace refinestyle {
namespace {

constexpr char kFormat[] = "refinestyle-tokens";
constexpr std::int64_t kMaxRank = 4096;
constexpr std::size_t kMaxName = 64;

Error malformed(std::string failed, std::string found = "", std::string expected = "") {
  return {Status::kMalformed, std::move(failed), std::move(found), std::move(expected)};
}

bool is_digit(char ch) { return ch >= '0' && ch <= '9'; }

bool is_digits(std::string_view text, std::size_t longest) {
  return !text.empty() && text.size() <= longest && std::all_of(text.begin(), text.end(), is_digit);
}

// ------------------------------------------------------------------------------------- metadata

void check_version(const Json& value, const std::string& what) {
  const std::string version = value.is_string() ? value.get<std::string>() : "";
  const std::size_t dot = version.find('.');
  const std::string_view major = std::string_view(version).substr(0, dot);
  if (dot == version.npos || !is_digits(major, 4) ||
      !is_digits(std::string_view(version).substr(dot + 1), 4)) {
    throw malformed(what + ": its format version", value.dump(-1, ' ', true).substr(0, 40));
  }
  if (major != std::string_view(kTokenVersion).substr(0, 1)) {
    throw Error(Status::kIncompatible, what + ": a token set of another format version", version,
                kTokenVersion, "update this program or export the token set again");
  }
}

void check_choices(const TokenMetadata& metadata, const std::string& what) {
  if (metadata.kind != "image" && metadata.kind != "domain") {
    throw malformed(what + ": its kind", metadata.kind.substr(0, 40), "image or domain");
  }
  if (item_bytes(metadata.dtype) == 0) {
    throw malformed(what + ": its stated dtype", metadata.dtype.substr(0, 40), "F16 or F32");
  }
  if (const std::string clean = clean_name(metadata.name); metadata.name != clean) {
    throw malformed(what + ": its name", metadata.name.substr(0, 80), "such as '" + clean + "'");
  }
}

// --------------------------------------------------------------------------------------- groups

// b followed by 1 to 5 digits, the first not 0.
bool is_block(std::string_view text) {
  return text.size() >= 2 && text[0] == 'b' && text[1] != '0' && is_digits(text.substr(1), 5);
}

bool is_token_tensor(const TokenTensorName& name) {
  const std::size_t dot = name.layer.find('.');
  if (dot == name.layer.npos || !is_block(std::string_view(name.layer).substr(0, dot)))
    return false;
  const std::string kind = name.layer.substr(dot + 1);
  if (kind == "torgb") return name.group == "style_offset";
  return (kind == "conv0" || kind == "conv1") &&
         (name.group == "P" || name.group == "Q" || name.group == "style_offset" ||
          name.group == "modulation");
}

using Shapes = std::map<std::string, std::vector<std::uint64_t>>;

// Returns L of a factor after a look at its partner.
std::int64_t check_pair(const TokenTensorName& name, const Shapes& shapes,
                        const std::vector<std::uint64_t>& shape, const std::string& what) {
  const auto other = shapes.find(name.layer + (name.group == "P" ? "/Q" : "/P"));
  if (other == shapes.end()) {
    throw malformed(what + ": " + name.layer + " has only one of P and Q", name.group);
  }
  if (other->second.size() == 2 && other->second[0] != shape[0]) {
    throw malformed(what + ": P and Q of " + name.layer + " differ in rank",
                    std::to_string(shape[0]) + " and " + std::to_string(other->second[0]));
  }
  return static_cast<std::int64_t>(shape[0]);
}

std::vector<std::uint64_t> expected_shape(const TokenTensorName& name, const TensorEntry& entry,
                                          const LayerTable& table, const std::string& what) {
  const auto size = [](int side) { return static_cast<std::uint64_t>(side); };
  if (name.group == "w_plus") return {size(table.num_ws()), size(table.w_dim())};
  const Layer* layer = table.find(name.layer);
  if (layer == nullptr) {
    throw Error(Status::kIncompatible, what + ": the generator has no layer " + name.layer);
  }
  if (name.group == "P") return {entry.shape[0], size(layer->out_channels)};
  if (name.group == "Q") return {entry.shape[0], size(layer->in_channels)};
  return {size(layer->in_channels)};
}

std::set<std::string> names_of(const std::vector<Layer>& layers) {
  std::set<std::string> names;
  for (const Layer& layer : layers) names.insert(layer.name);
  return names;
}

bool includes(const std::set<std::string>& all, const std::set<std::string>& some) {
  return std::includes(all.begin(), all.end(), some.begin(), some.end());
}

}  // namespace

std::string clean_name(const std::string& text) {
  std::string kept;
  std::string_view rest = text;
  for (std::size_t count = 0; count < kMaxName && !rest.empty(); ++count) {
    const char32_t character = take_character(rest);
    const bool allowed =
        is_alphanumeric(character) || std::u32string_view(U" _.+-").find(character) != rest.npos;
    append_utf8(kept, allowed ? character : U'_');
  }
  const std::size_t first = kept.find_first_not_of(" .");
  if (first == kept.npos) return "unnamed";
  return kept.substr(first, kept.find_last_not_of(" .") + 1 - first);
}

TokenTensorName split_name(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == name.npos) return {"", name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

Json to_json(const TokenMetadata& metadata) {
  return {{"dtype", metadata.dtype},
          {"fingerprint", metadata.fingerprint},
          {"format", kFormat},
          {"kind", metadata.kind},
          {"layer_table", metadata.layer_table},
          {"licence", metadata.licence},
          {"name", metadata.name},
          {"rank", metadata.rank},
          {"sha256", metadata.sha256},
          {"source", metadata.source},
          {"version", metadata.version}};
}

TokenMetadata read_token_metadata(const Json& value, const std::string& what) {
  if (!value.is_object() || !value.contains("format") || value["format"] != kFormat) {
    throw malformed(what + ": not a token set", "", kFormat);
  }
  check_version(value.value("version", Json()), what);
  const std::string where = what + ": metadata";
  check_object(value, where,
               {"dtype", "fingerprint", "format", "kind", "layer_table", "licence", "name", "rank",
                "sha256", "source", "version"});
  for (const char* name : {"dtype", "kind", "name"}) {
    if (!value[name].is_string()) {
      throw malformed(where + " field " + name, value[name].type_name(), "a string");
    }
  }
  TokenMetadata metadata{
      value["dtype"],
      check_hash(value["fingerprint"], where + ".fingerprint"),
      value["kind"],
      check_hash(value["layer_table"], where + ".layer_table"),
      check_text(value["licence"], where + ".licence"),
      value["name"],
      check_integer(value["rank"], where + ".rank", 0, kMaxRank),
      check_hash(value["sha256"], where + ".sha256"),
      check_text(value["source"], where + ".source"),
      value["version"],
  };
  check_choices(metadata, what);
  return metadata;
}

void check_groups(const std::vector<TensorEntry>& entries, const TokenMetadata& metadata,
                  const std::string& what) {
  if (entries.empty()) throw malformed(what + ": it holds no tokens");
  Shapes shapes;
  for (const TensorEntry& entry : entries) shapes[entry.name] = entry.shape;
  std::int64_t rank = 0;
  for (const auto& [full_name, shape] : shapes) {
    const TokenTensorName name = split_name(full_name);
    if (full_name != "w_plus" && !is_token_tensor(name)) {
      throw malformed(what + ": '" + full_name + "' is not a tensor of a token set");
    }
    const std::size_t dims = name.group == "style_offset" || name.group == "modulation" ? 1 : 2;
    if (shape.size() != dims) {
      throw malformed(what + ": number of dimensions of " + full_name, std::to_string(shape.size()),
                      std::to_string(dims));
    }
    if (name.group == "P" || name.group == "Q") {
      rank = std::max(rank, check_pair(name, shapes, shape, what));
    }
  }
  if (shapes.count("w_plus") != 0 && metadata.kind != "image") {
    throw malformed(what + ": w_plus in a set that is not of kind image");
  }
  if (rank != metadata.rank) {
    throw malformed(what + ": its stated rank", std::to_string(metadata.rank),
                    std::to_string(rank) + ", as in P");
  }
}

void check_table(const std::vector<TensorEntry>& entries, const LayerTable& table,
                 const std::string& what) {
  std::map<std::string, std::set<std::string>> present;
  for (const TensorEntry& entry : entries) {
    const TokenTensorName name = split_name(entry.name);
    const std::vector<std::uint64_t> expected = expected_shape(name, entry, table, what);
    if (entry.shape != expected) {
      throw Error(Status::kIncompatible, what + ": shape of " + entry.name,
                  Json(entry.shape).dump(), Json(expected).dump());
    }
    present[name.group].insert(name.layer);
  }
  const std::set<std::string> convs = names_of(table.convs());
  const std::set<std::string> all = names_of(table.layers());
  const std::set<std::string>& offsets = present["style_offset"];
  const std::set<std::string>& modulation = present["modulation"];
  if (!offsets.empty() && offsets != convs && offsets != all) {
    throw malformed(what + ": its style_offset group is incomplete",
                    std::to_string(offsets.size()) + " layers",
                    includes(convs, offsets) ? "all convolutions" : "all layers");
  }
  if (!modulation.empty() && modulation != convs) {
    throw malformed(what + ": its modulation group is incomplete",
                    std::to_string(modulation.size()) + " layers", "all convolutions");
  }
}

}  // namespace refinestyle
