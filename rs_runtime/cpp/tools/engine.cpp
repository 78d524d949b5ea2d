// Takes an engine that trtexec built from a bundle's graph into the folder of the bundle's engines,
// with the sidecar that `rs-export --engine` would write: for machines without Python 3.11.
//
//     refinestyle-engine BUNDLE ROLE ENGINE [PLUGIN_LIBRARY]
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "contracts/bundle.h"
#include "contracts/engine_file.h"
#include "contracts/error.h"
#include "contracts/files.h"
#include "contracts/sha256.h"
#include "engines/tensorrt_engine.h"

namespace {

using namespace refinestyle;

constexpr const char* kHelp =
    "usage: refinestyle-engine BUNDLE ROLE ENGINE [PLUGIN_LIBRARY]\n\n"
    "Takes the ENGINE that trtexec built on this machine from the graph for TensorRT of a bundle's\n"
    "ROLE into the folder BUNDLE.engines, with its sidecar. PLUGIN_LIBRARY: with these plugins.\n";
constexpr const char* kPluginForm = "plugin";
constexpr const char* kPluginVersion = "1";

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", std::gmtime(&time));
  return text;
}

const Variant& tensorrt_variant(const std::string& name, const Manifest& manifest) {
  const auto role = manifest.roles.find(name);
  if (role != manifest.roles.end()) {
    for (const Variant& variant : role->second.variants) {
      if (variant.engine == "tensorrt") return variant;
    }
  }
  std::string list;
  for (const auto& [own, spec] : manifest.roles) list += (list.empty() ? "" : ", ") + own;
  throw Error(Status::kUsage, "the bundle has no graph for TensorRT of the role " + name,
              "roles " + list, "", "export it with: rs-export --model two_stage --fp16 --target gpu");
}

// Returns where the engine is now.
std::string take(const std::vector<std::string>& words) {
  const Bundle bundle = Bundle::open(words[0]);
  const Variant& variant = tensorrt_variant(words[1], bundle.manifest());
  const Role& role = bundle.manifest().roles.at(words[1]);
  EngineFile sidecar;
  sidecar.role = words[1];
  sidecar.machine = this_machine();
  sidecar.graph = sha256_hex(bundle.read(variant.file));
  sidecar.precision = variant.precision;
  sidecar.inputs = role.inputs;
  sidecar.outputs = role.outputs;
  sidecar.when = now();
  sidecar.by = "refinestyle-engine " REFINESTYLE_VERSION;
  const Bytes engine = read_file(words[2], kMaxFileBytes, "engine");
  const std::string plugins = words.size() == 4 ? words[3] : "";
  if (!plugins.empty()) {
    if (variant.form != kPluginForm) {
      throw Error(Status::kUsage, "the " + sidecar.role + " graph has no plugins", plugins);
    }
    sidecar.plugin = copy_plugin_library(words[0], plugins, kPluginVersion);
  }
  describe_shapes(sidecar, engine, plugins);
  return write_engine(words[0], sidecar, engine);
}

}  // namespace

int main(int count, char** words) {
  if (count != 4 && count != 5) {
    std::fputs(kHelp, stderr);
    return static_cast<int>(Status::kUsage);
  }
  try {
    std::printf("%s\n", take({words + 1, words + count}).c_str());
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.status);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(Status::kInternal);
  }
}
