// Built TensorRT engines beside a bundle, and the sidecar that says what each may be used for.
//
// The engines of the bundle NAME are in the folder NAME.engines: <role>-<machine>.engine with its
// sidecar <role>-<machine>.json. TensorRT runs code of what it deserialises, so nothing is handed
// to it before the sidecar has been compared with the machine (find_engine) and the bytes with the
// sidecar (read_engine).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contracts/bytes.h"
#include "contracts/manifest.h"

namespace refinestyle {

// What an engine is bound to; each part has to be the same where it is used.
struct Machine {
  std::string tensorrt;            // full version with its build, as "10.16.1.11"
  std::string gpu;                 // its name as the driver gives it
  std::string compute_capability;  // as "9.0"
  std::string cuda_driver;         // newest CUDA version that the driver serves, as "13.0"
  std::string platform;            // system and processor architecture, as "linux-x86_64"

  // Twelve hexadecimal digits that tell machines apart in file names.
  std::string digest() const;
};

// Smallest and largest sides of one input that an engine takes, and those it was made fastest for.
struct ShapeRange {
  std::vector<std::int64_t> min, opt, max;
};

// The copy of the plugin library that an engine with plugins needs.
struct PluginLibrary {
  std::string file;     // its name in the folder of the engines
  std::string version;  // of the plugins, as in a node's plugin_version
  std::string sha256;
};

// What the sidecar of an engine says.
struct EngineFile {
  // Reads the text of a sidecar; `what` names it in messages.
  // Throws kMalformed for a damaged or incomplete one, kIncompatible for a newer schema.
  static EngineFile from_json(std::string_view text, const std::string& what);

  // The text of the sidecar, byte by byte as Python writes it.
  std::string to_json() const;

  std::string role;  // whose graph it runs
  Machine machine;
  std::string graph;                          // SHA-256 of the ONNX file that it was built from
  std::string precision;                      // of the graph's variant
  std::map<std::string, ShapeRange> profile;  // by input
  std::vector<std::string> flags;             // TensorRT's builder flags that were set, sorted
  std::optional<PluginLibrary> plugin;
  std::vector<TensorSpec> inputs, outputs;
  FileEntry engine{};
  std::string when, by;  // it was made: UTC, ISO 8601; which program
};

// An engine that fits, not read yet.
struct FoundEngine {
  std::string path;
  EngineFile sidecar;
};

// Finds the engine that runs a role's graph, given by its SHA-256, on this machine.
// Throws kResource if none was built for the role, kIncompatible if engines are there for other
// machines or from another graph only (says what differs), kMalformed for a damaged sidecar.
FoundEngine find_engine(const std::string& bundle, const std::string& role, const Machine& machine,
                        const std::string& graph);

// Reads an engine whole. Throws kMalformed if it is not the file that the sidecar describes.
Bytes read_engine(const FoundEngine& found);

// Puts an engine beside a bundle, its sidecar last, in the place of the one that is there for the
// same role and machine; fills in the engine's size and hash. Returns its path. Throws kResource.
std::string write_engine(const std::string& bundle, EngineFile sidecar, ByteView engine);

// Copies a plugin library to the engines of a bundle, so that they can be moved together.
// Throws kUsage without such a file, kResource.
PluginLibrary copy_plugin_library(const std::string& bundle, const std::string& library,
                                  const std::string& version);

// Checks the engine's plugin library, if it needs one, and returns its path; "" if it needs none.
// Throws kMalformed if it is not the library that the engine was built with.
std::string read_plugin_library(const FoundEngine& found);

}  // namespace refinestyle
