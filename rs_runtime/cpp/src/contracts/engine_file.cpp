#include "contracts/engine_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <variant>

#include "contracts/descriptor.h"
#include "contracts/error.h"
#include "contracts/fields.h"
#include "contracts/files.h"
#include "contracts/sha256.h"
#include "contracts/strict_json.h"

namespace refinestyle {
namespace {

namespace fs = std::filesystem;

constexpr char kFormat[] = "refinestyle-engine";
constexpr std::int64_t kSchemaVersion = 1;
constexpr std::uint64_t kMaxSidecarBytes = 1'000'000;
constexpr std::size_t kDigestLength = 12;

Json tree_of(const Machine& machine) {
  return {{"tensorrt", machine.tensorrt},
          {"gpu", machine.gpu},
          {"compute_capability", machine.compute_capability},
          {"cuda_driver", machine.cuda_driver},
          {"platform", machine.platform}};
}

std::string build_hint(const std::string& bundle) {
  return "build it on this machine: rs-export --engine --bundle " + bundle;
}

// The bundle that a folder of engines belongs to.
std::string bundle_of(const fs::path& folder) {
  return to_text(fs::path(folder).replace_extension());
}

// ------------------------------------------------------------------------- the sidecar's fields

Machine read_machine(const Json& value, const std::string& where) {
  check_object(value, where, {"tensorrt", "gpu", "compute_capability", "cuda_driver", "platform"});
  const auto text = [&](const char* name) { return check_text(value[name], where + "." + name); };
  return {text("tensorrt"), text("gpu"), text("compute_capability"), text("cuda_driver"),
          text("platform")};
}

std::vector<std::int64_t> read_sides(const Json& value, const std::string& where) {
  check_list(value, where);
  std::vector<std::int64_t> sides;
  for (const Json& side : value) {
    sides.push_back(check_integer(side, where, 1, std::int64_t{1} << 31));
  }
  return sides;
}

ShapeRange read_range(const Json& value, const std::string& where) {
  check_object(value, where, {"min", "opt", "max"});
  ShapeRange range;
  range.min = read_sides(value["min"], where + ".min");
  range.opt = read_sides(value["opt"], where + ".opt");
  range.max = read_sides(value["max"], where + ".max");
  const auto below = [](const auto& low, const auto& high) {
    return low.size() == high.size() &&
           std::equal(low.begin(), low.end(), high.begin(), [](auto a, auto b) { return a <= b; });
  };
  if (!below(range.min, range.opt) || !below(range.opt, range.max)) {
    throw Error(Status::kMalformed, where + ": shapes that are no range", "", "min <= opt <= max");
  }
  return range;
}

std::optional<PluginLibrary> read_plugin(const Json& value, const std::string& where) {
  if (value.is_null()) return std::nullopt;
  check_object(value, where, {"file", "version", "sha256"});
  return PluginLibrary{check_identifier(value["file"], where + ".file"),
                       check_identifier(value["version"], where + ".version"),
                       check_hash(value["sha256"], where + ".sha256")};
}

void read_recipe(const Json& value, const std::string& where, EngineFile& sidecar) {
  check_object(value, where, {"graph", "precision", "profile", "flags", "plugin"});
  sidecar.graph = check_hash(value["graph"], where + ".graph");
  sidecar.precision = check_identifier(value["precision"], where + ".precision");
  sidecar.profile = check_entries(value["profile"], where + ".profile", read_range);
  check_list(value["flags"], where + ".flags");
  for (const Json& flag : value["flags"]) {
    sidecar.flags.push_back(check_identifier(flag, where + ".flags"));
  }
  sidecar.plugin = read_plugin(value["plugin"], where + ".plugin");
}

void read_made(const Json& value, const std::string& where, EngineFile& sidecar) {
  check_object(value, where, {"when", "by"});
  sidecar.when = check_text(value["when"], where + ".when");
  sidecar.by = check_text(value["by"], where + ".by");
}

Json tree_of(const std::map<std::string, ShapeRange>& profile) {
  Json ranges = Json::object();
  for (const auto& [name, range] : profile) {
    ranges[name] = {{"min", range.min}, {"opt", range.opt}, {"max", range.max}};
  }
  return ranges;
}

Json tree_of(const std::optional<PluginLibrary>& plugin) {
  if (!plugin) return nullptr;
  return {{"file", plugin->file}, {"version", plugin->version}, {"sha256", plugin->sha256}};
}

Json tree_of(const std::vector<TensorSpec>& specs) {
  Json list = Json::array();
  for (const TensorSpec& spec : specs) {
    Json shape = Json::array();
    for (const Side& side : spec.shape) {
      std::visit([&](const auto& own) { shape.push_back(own); }, side);
    }
    list.push_back({{"name", spec.name}, {"dtype", spec.dtype}, {"shape", std::move(shape)}});
  }
  return list;
}

EngineFile read_sidecar(const fs::path& path) {
  const Bytes data = read_file(to_text(path), kMaxSidecarBytes, "sidecar of an engine");
  return EngineFile::from_json(ByteView(data).text(), to_text(path));
}

// ----------------------------------------------------------------- what fits, and what does not

fs::path engines_folder(const std::string& bundle) {
  fs::path root = fs::absolute(to_path(bundle)).lexically_normal();
  if (!root.has_filename()) root = root.parent_path();
  root += ".engines";
  return root;
}

fs::path made_folder(const std::string& bundle) {
  const fs::path folder = engines_folder(bundle);
  std::error_code refused;
  fs::create_directory(folder, refused);
  if (refused) {
    throw Error(Status::kResource, to_text(folder) + ": cannot be written", refused.message(), "",
                "copy the bundle to a folder that you may write to");
  }
  return folder;
}

// Sidecars of a role's engines for any machine, by name.
std::vector<fs::path> sidecars_of(const fs::path& folder, const std::string& role) {
  std::vector<fs::path> sidecars;
  std::error_code absent;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, absent)) {
    const std::string name = to_text(entry.path().filename());
    if (name.rfind(role + "-", 0) == 0 && entry.path().extension() == ".json") {
      sidecars.push_back(entry.path());
    }
  }
  std::sort(sidecars.begin(), sidecars.end());
  return sidecars;
}

struct Difference {
  const char* part;
  std::string built, here;
};

std::string shortened(const std::string& text) {
  return text.size() <= 40 ? text : text.substr(0, 16) + "…";
}

// What an engine was built for differently from what is found.
std::vector<Difference> differences(const EngineFile& sidecar, const Machine& machine,
                                    const std::string& graph) {
  std::vector<Difference> parts;
  const auto compare = [&](const char* part, const std::string& built, const std::string& here) {
    if (built != here) parts.push_back({part, shortened(built), shortened(here)});
  };
  const Machine& built = sidecar.machine;
  compare("TensorRT", built.tensorrt, machine.tensorrt);
  compare("GPU", built.gpu, machine.gpu);
  compare("compute capability", built.compute_capability, machine.compute_capability);
  compare("cuda driver", built.cuda_driver, machine.cuda_driver);
  compare("platform", built.platform, machine.platform);
  compare("graph", sidecar.graph, graph);
  return parts;
}

void require_fresh(const EngineFile& sidecar, const fs::path& path, const Machine& machine,
                   const std::string& graph) {
  std::string built, here;
  for (const Difference& own : differences(sidecar, machine, graph)) {
    const std::string start = (built.empty() ? "" : ", ") + std::string(own.part) + " ";
    built += start + own.built;
    here += start + own.here;
  }
  if (built.empty()) return;
  throw Error(Status::kIncompatible, to_text(path) + ": the engine was built for something else",
              built, here, build_hint(bundle_of(path.parent_path())));
}

Bytes read_as_listed(const fs::path& path, const std::string& sha256) {
  Bytes data = read_file(to_text(path), kMaxFileBytes, "part of an engine");
  const std::string digest = sha256_hex(data);
  if (digest != sha256) {
    throw Error(Status::kMalformed,
                to_text(path) + ": not the file that the engine's sidecar lists",
                "SHA-256 " + digest.substr(0, 16) + "…", sha256.substr(0, 16) + "…",
                build_hint(bundle_of(path.parent_path())));
  }
  return data;
}

}  // namespace

std::string Machine::digest() const {
  return sha256_hex(view_of(canonical_json(tree_of(*this)))).substr(0, kDigestLength);
}

EngineFile EngineFile::from_json(std::string_view text, const std::string& what) {
  const Json value = parse_json(text, what);
  check_mapping(value, what);
  if (!value.contains("format") || value["format"] != kFormat) {
    throw Error(Status::kMalformed, what + ": not the sidecar of an engine", "", kFormat);
  }
  const auto version =
      check_integer(value.value("schema_version", Json()), what + ": schema_version", 1, 1'000'000);
  if (version > kSchemaVersion) {
    throw Error(Status::kIncompatible, what + ": the engine was built by a newer version",
                "schema " + std::to_string(version), "at most " + std::to_string(kSchemaVersion),
                "update this program, or build the engine again with this version");
  }
  check_object(value, what,
               {"format", "role", "machine", "recipe", "inputs", "outputs", "engine", "made",
                "schema_version"});
  EngineFile sidecar;
  sidecar.role = check_identifier(value["role"], what + ": role");
  sidecar.machine = read_machine(value["machine"], what + ": machine");
  read_recipe(value["recipe"], what + ": recipe", sidecar);
  sidecar.inputs = read_tensor_specs(value["inputs"], what + ": inputs");
  sidecar.outputs = read_tensor_specs(value["outputs"], what + ": outputs");
  sidecar.engine = read_file_entry(value["engine"], what + ": engine");
  read_made(value["made"], what + ": made", sidecar);
  return sidecar;
}

std::string EngineFile::to_json() const {
  const Json recipe = {{"graph", graph},
                       {"precision", precision},
                       {"profile", tree_of(profile)},
                       {"flags", flags},
                       {"plugin", tree_of(plugin)}};
  return canonical_json({{"format", kFormat},
                         {"schema_version", kSchemaVersion},
                         {"role", role},
                         {"machine", tree_of(machine)},
                         {"recipe", recipe},
                         {"inputs", tree_of(inputs)},
                         {"outputs", tree_of(outputs)},
                         {"engine", {{"size", engine.size}, {"sha256", engine.sha256}}},
                         {"made", {{"when", when}, {"by", by}}}});
}

FoundEngine find_engine(const std::string& bundle, const std::string& role, const Machine& machine,
                        const std::string& graph) {
  const fs::path folder = engines_folder(bundle);
  const fs::path own = folder / to_path(role + "-" + machine.digest() + ".json");
  std::error_code unreadable;
  if (fs::is_regular_file(own, unreadable)) {
    EngineFile sidecar = read_sidecar(own);
    const fs::path path = fs::path(own).replace_extension(".engine");
    require_fresh(sidecar, path, machine, graph);
    return {to_text(path), std::move(sidecar)};
  }
  fs::path nearest;
  std::size_t fewest = 0;
  for (const fs::path& other : sidecars_of(folder, role)) {
    const std::size_t count = differences(read_sidecar(other), machine, graph).size();
    if (nearest.empty() || count < fewest) {
      nearest = other;
      fewest = count;
    }
  }
  if (nearest.empty()) {
    throw Error(Status::kResource,
                to_text(folder) + ": no engine was built for the " + role + " graph", "", "",
                build_hint(bundle));
  }
  const fs::path path = fs::path(nearest).replace_extension(".engine");
  require_fresh(read_sidecar(nearest), path, machine, graph);
  throw Error(Status::kMalformed, to_text(path) + ": not the name of its engine", "",
              to_text(fs::path(own).replace_extension(".engine").filename()), build_hint(bundle));
}

Bytes read_engine(const FoundEngine& found) {
  return read_as_listed(to_path(found.path), found.sidecar.engine.sha256);
}

std::string write_engine(const std::string& bundle, EngineFile sidecar, ByteView engine) {
  const fs::path folder = made_folder(bundle);
  const fs::path path = folder / to_path(sidecar.role + "-" + sidecar.machine.digest() + ".engine");
  sidecar.engine = {engine.size, sha256_hex(engine)};
  // The sidecar last: an engine without its own is taken for damaged.
  write_atomic(to_text(path), engine);
  write_atomic(to_text(fs::path(path).replace_extension(".json")), view_of(sidecar.to_json()));
  return to_text(path);
}

PluginLibrary copy_plugin_library(const std::string& bundle, const std::string& library,
                                  const std::string& version) {
  const Bytes data = read_file(library, kMaxFileBytes, "plugin library");
  const std::string digest = sha256_hex(data);
  const fs::path source = to_path(library);
  const std::string name = to_text(source.stem()) + "-" + digest.substr(0, kDigestLength) +
                           to_text(source.extension());
  write_atomic(to_text(made_folder(bundle) / to_path(name)), data);
  return {name, version, digest};
}

std::string read_plugin_library(const FoundEngine& found) {
  if (!found.sidecar.plugin) return "";
  const fs::path path = to_path(found.path).parent_path() / to_path(found.sidecar.plugin->file);
  read_as_listed(path, found.sidecar.plugin->sha256);
  return to_text(path);
}

}  // namespace refinestyle
