#include "contracts/manifest.h"

#include <algorithm>
#include <set>
#include <utility>

#include "contracts/error.h"
#include "contracts/fields.h"
#include "contracts/strict_json.h"

namespace refinestyle {
namespace {

constexpr char kFormat[] = "refinestyle-bundle";
constexpr std::int64_t kSchemaVersion = 1;

// Roles that a bundle of each model kind must have; it may have more.
const std::map<std::string, std::vector<std::string>> kModelRoles = {
    {"generator", {"synthesis"}},
    {"base", {"preprocess", "base_inverter", "synthesis"}},
    {"one_stage", {"preprocess", "inverter", "synthesis"}},
    {"two_stage", {"preprocess", "base_inverter", "refiner", "synthesis"}},
    {"feature_shift",
     {"preprocess", "feature_encoder", "synthesis_lower", "feature_shift", "synthesis_upper",
      "synthesis"}},
};

Error malformed(std::string failed, std::string found = "", std::string expected = "") {
  return {Status::kMalformed, std::move(failed), std::move(found), std::move(expected)};
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// ------------------------------------------------------------------------- each field by itself

int read_image_size(const Json& value, const std::string& where) {
  check_object(value, where, {"channels", "range", "size"});
  const std::int64_t size = check_integer(value["size"], where + ".size", 4, 1 << 30);
  if ((size & (size - 1)) != 0) {
    throw malformed(where + ".size", std::to_string(size), "a power of two from 4");
  }
  if (value["channels"] != "RGB" || value["range"] != Json::array({-1.0, 1.0})) {
    throw malformed(where, value.dump(-1, ' ', true).substr(0, 80), "RGB in [-1, 1]");
  }
  return static_cast<int>(size);
}

Variant read_variant(const Json& value, const std::string& where) {
  check_object(value, where, {"file", "engine", "precision", "form", "batch"});
  const Json& batch = value["batch"];
  Variant variant;
  variant.batch = batch == "dynamic" ? 0 : check_integer(batch, where + ".batch", 1, 1 << 16);
  variant.file = check_path(value["file"], where + ".file");
  variant.engine = check_identifier(value["engine"], where + ".engine");
  variant.precision = check_identifier(value["precision"], where + ".precision");
  variant.form = check_identifier(value["form"], where + ".form");
  return variant;
}

Role read_role(const Json& value, const std::string& where) {
  check_object(value, where, {"inputs", "outputs", "variants"});
  Role role;
  role.inputs = read_tensor_specs(value["inputs"], where + ".inputs");
  role.outputs = read_tensor_specs(value["outputs"], where + ".outputs");
  check_list(value["variants"], where + ".variants", 1);
  for (const Json& variant : value["variants"]) {
    const std::string at = where + ".variants[" + std::to_string(role.variants.size()) + "]";
    role.variants.push_back(read_variant(variant, at));
  }
  return role;
}

std::optional<Reconstruction> read_reconstruction(const Json& value, const std::string& where) {
  if (value.is_null()) return std::nullopt;
  check_object(value, where, {"mse_p50", "mse_p99", "pictures", "knows"});
  return Reconstruction{check_measure(value["mse_p50"], where + ".mse_p50"),
                        check_measure(value["mse_p99"], where + ".mse_p99"),
                        check_integer(value["pictures"], where + ".pictures", 1, 1'000'000'000),
                        check_text(value["knows"], where + ".knows")};
}

std::vector<Golden> read_golden(const Json& value, const std::string& where) {
  check_list(value, where);
  std::vector<Golden> golden;
  for (const Json& item : value) {
    const std::string at = where + "[" + std::to_string(golden.size()) + "]";
    check_object(item, at, {"role", "inputs", "outputs", "max_abs"});
    golden.push_back({check_identifier(item["role"], at + ".role"),
                      check_entries(item["inputs"], at + ".inputs", check_path),
                      check_entries(item["outputs"], at + ".outputs", check_path),
                      check_entries(item["max_abs"], at + ".max_abs", check_measure)});
  }
  return golden;
}

std::map<std::string, std::string> read_licences(const Json& value, const std::string& where) {
  check_mapping(value, where);
  std::map<std::string, std::string> licences;
  for (const auto& [part, licence] : value.items()) {
    licences[check_text(part, where)] = check_text(licence, where + "." + part);
  }
  return licences;
}

std::map<std::string, FileEntry> read_files(const Json& value, const std::string& where) {
  check_mapping(value, where);
  std::map<std::string, FileEntry> files;
  for (const auto& [path, entry] : value.items()) {
    check_path(path, where);
    files[path] = read_file_entry(entry, where + "." + path);
  }
  return files;
}

Manifest read_fields(const Json& value, const std::string& at) {
  // In a braced list the fields are read from the first to the last.
  Manifest manifest{
      check_identifier(value["model"], at + "model"),
      LayerTable::from_json(value["layer_table"], at + "layer table"),
      read_image_size(value["image"], at + "image"),
      check_hash(value["generator_fingerprint"], at + "fingerprint"),
      static_cast<int>(check_integer(value["rank"], at + "rank", 0, 4096)),
      check_entries(value["roles"], at + "roles", read_role),
      check_entries(value["domains"], at + "domains", check_path),
      read_reconstruction(value["reconstruction"], at + "reconstruction"),
      read_golden(value["golden"], at + "golden"),
      read_licences(value["licences"], at + "licences"),
      {},
  };
  check_mapping(value["parity"], at + "parity");
  check_mapping(value["record"], at + "record");
  manifest.files = read_files(value["files"], at + "files");
  return manifest;
}

// ------------------------------------------------------------------------- several fields together

template <typename Entries>
std::set<std::string> keys_of(const Entries& entries) {
  std::set<std::string> keys;
  for (const auto& entry : entries) keys.insert(entry.first);
  return keys;
}

std::set<std::string> names_of(const std::vector<TensorSpec>& specs) {
  std::set<std::string> names;
  for (const TensorSpec& spec : specs) names.insert(spec.name);
  return names;
}

// Refuses what a file system that ignores case could not hold, and a file that is a folder.
void check_case(const std::map<std::string, FileEntry>& files, const std::string& what) {
  const std::set<std::string> folders = folders_of(files);
  std::map<std::string, std::string> seen = {{kManifestName, kManifestName}};
  const auto check = [&](const std::string& path) {
    std::string lower = path;  // ASCII, as every path of a bundle
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char ch) { return ch >= 'A' && ch <= 'Z' ? char(ch - 'A' + 'a') : ch; });
    const std::string& other = seen.emplace(lower, path).first->second;
    const bool both = folders.count(path) != 0 && files.count(path) != 0;
    if (other != path || path == kManifestName || both) {
      throw malformed(what + ": two files of one name", other + " and " + path);
    }
  };
  for (const std::string& folder : folders) check(folder);
  for (const auto& file : files) check(file.first);
}

void check_golden(const Golden& golden, const std::map<std::string, Role>& roles,
                  const std::string& what) {
  const auto role = roles.find(golden.role);
  if (role == roles.end()) {
    throw malformed(what + ": golden data of an absent role", golden.role);
  }
  const std::set<std::string> known = names_of(role->second.outputs);
  const std::set<std::string> outputs = keys_of(golden.outputs);
  const bool fits = keys_of(golden.inputs) == names_of(role->second.inputs) && !outputs.empty() &&
                    std::includes(known.begin(), known.end(), outputs.begin(), outputs.end());
  if (!fits) throw malformed(what + ": golden data that does not fit role " + golden.role);
  if (keys_of(golden.max_abs) != outputs) {
    throw malformed(what + ": golden tolerances that do not fit role " + golden.role);
  }
}

void check_used_files(const Manifest& manifest, const std::string& what) {
  const auto check = [&](const std::string& path) {
    if (manifest.files.count(path) == 0) {
      throw malformed(what + ": " + path + " is used but not listed under files");
    }
  };
  for (const auto& [name, role] : manifest.roles) {
    for (const Variant& variant : role.variants) check(variant.file);
  }
  for (const auto& [name, path] : manifest.domains) check(path);
  for (const Golden& golden : manifest.golden) {
    for (const auto& [name, path] : golden.inputs) check(path);
    for (const auto& [name, path] : golden.outputs) check(path);
  }
}

void check_consistent(const Manifest& manifest, const std::string& what) {
  const auto needed = kModelRoles.find(manifest.model);
  if (needed == kModelRoles.end()) {
    std::vector<std::string> known;
    for (const auto& kind : kModelRoles) known.push_back(kind.first);
    throw Error(Status::kIncompatible, what + ": an unknown kind of model", manifest.model,
                join(known), "update this program");
  }
  for (const std::string& role : needed->second) {
    if (manifest.roles.count(role) == 0) {
      throw malformed(what + ": a " + manifest.model + " bundle without role " + role);
    }
  }
  if (manifest.image_size != manifest.layer_table.resolution()) {
    throw malformed(what + ": image size and layer table differ",
                    std::to_string(manifest.image_size),
                    std::to_string(manifest.layer_table.resolution()));
  }
  check_case(manifest.files, what);
  for (const Golden& golden : manifest.golden) check_golden(golden, manifest.roles, what);
  check_used_files(manifest, what);
}

}  // namespace

std::vector<TensorSpec> read_tensor_specs(const Json& value, const std::string& where) {
  static const std::vector<std::string> dtypes = {"uint8", "int64", "float16", "float32"};
  check_list(value, where, 1);
  std::vector<TensorSpec> specs;
  std::set<std::string> names;
  for (const Json& item : value) {
    const std::string at = where + "[" + std::to_string(specs.size()) + "]";
    check_object(item, at, {"name", "dtype", "shape"});
    if (std::find(dtypes.begin(), dtypes.end(), item["dtype"]) == dtypes.end()) {
      throw malformed(at + ".dtype", item["dtype"].dump(-1, ' ', true).substr(0, 40), join(dtypes));
    }
    TensorSpec spec;
    spec.dtype = item["dtype"];
    check_list(item["shape"], at + ".shape");
    for (const Json& side : item["shape"]) {
      if (side.is_string()) {
        spec.shape.emplace_back(check_identifier(side, at + ".shape"));
      } else {
        spec.shape.emplace_back(check_integer(side, at + ".shape", 1, std::int64_t{1} << 31));
      }
    }
    spec.name = check_identifier(item["name"], at + ".name");
    names.insert(spec.name);
    specs.push_back(std::move(spec));
  }
  if (names.size() != specs.size()) throw malformed(where + ": a name twice");
  return specs;
}

FileEntry read_file_entry(const Json& value, const std::string& where) {
  check_object(value, where, {"size", "sha256"});
  const auto size = check_integer(value["size"], where + ".size", 0, kMaxFileBytes);
  return {static_cast<std::uint64_t>(size), check_hash(value["sha256"], where + ".sha256")};
}

std::set<std::string> folders_of(const std::map<std::string, FileEntry>& files) {
  std::set<std::string> folders;
  for (const auto& file : files) {
    const std::string& path = file.first;
    for (std::size_t at = path.find('/'); at != path.npos; at = path.find('/', at + 1)) {
      folders.insert(path.substr(0, at));
    }
  }
  return folders;
}

Manifest Manifest::from_json(std::string_view text, const std::string& what) {
  Json value = parse_json(text, what);
  check_mapping(value, what);
  if (!value.contains("format") || value["format"] != kFormat) {
    throw malformed(what + ": not the manifest of a bundle", "", kFormat);
  }
  const Json version = value.value("schema_version", Json());
  const auto number = check_integer(version, what + ": schema_version", 1, 1'000'000);
  if (number > kSchemaVersion) {
    throw Error(Status::kIncompatible, what + ": the bundle was written by a newer version",
                "schema " + std::to_string(number), "at most " + std::to_string(kSchemaVersion),
                "update this program, or export the bundle again with this version");
  }
  check_object(value, what,
               {"format", "model", "layer_table", "image", "generator_fingerprint", "rank", "roles",
                "domains", "reconstruction", "golden", "parity", "licences", "record", "files",
                "schema_version"});
  Manifest manifest = read_fields(value, what + ": ");
  check_consistent(manifest, what);
  return manifest;
}

}  // namespace refinestyle
