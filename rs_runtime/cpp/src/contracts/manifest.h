// The manifest of a bundle: what is in the folder, and what each graph takes and gives.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "contracts/layers.h"

namespace refinestyle {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 33;

// One side of a tensor: a number, or the name of one that is known only at run time.
using Side = std::variant<std::int64_t, std::string>;

struct TensorSpec {
  std::string name;
  std::string dtype;  // uint8, int64, float16 or float32
  std::vector<Side> shape;
};

// One graph that does a role's job.
struct Variant {
  std::string file;       // its path in the bundle
  std::string engine;     // onnxruntime, openvino, tensorrt, native
  std::string precision;  // fp32, fp16_stored, fp16, bf16
  std::string form;       // dense, low_rank, materialised, cpu, winograd, plain
  std::int64_t batch;     // the one batch size it takes, 0: any
};

// One job of the pipeline and the graphs that can do it, the preferred one first.
struct Role {
  std::vector<TensorSpec> inputs, outputs;
  std::vector<Variant> variants;  // at least one
};

struct FileEntry {
  std::uint64_t size;
  std::string sha256;
};

// How well the pictures it knows are reconstructed; far worse means an unknown kind of picture.
struct Reconstruction {
  double mse_p50, mse_p99;  // squared error in [-1, 1] units; p99 is the limit of the warning
  std::int64_t pictures;    // how many were measured
  std::string knows;        // what kind of picture, as in "this bundle knows rendered portraits"
};

// Stored inputs and outputs of one role.
struct Golden {
  std::string role;
  std::map<std::string, std::string> inputs, outputs;  // path of a .npy file by tensor name
  std::map<std::string, double> max_abs;               // largest difference that passes, by output
};

struct Manifest {
  // Reads the text of a manifest.json; `what` names it in messages. Every path in the result is
  // relative, stays inside the bundle and is listed under files.
  // Throws kMalformed, kUnsafe for a path that leads out, kIncompatible for a newer schema or an
  // unknown kind of model.
  static Manifest from_json(std::string_view text, const std::string& what);

  std::string model;  // generator, base, one_stage, two_stage, feature_shift
  LayerTable layer_table;
  int image_size;  // side R in pixels of what the synthesis gives
  std::string generator_fingerprint;
  int rank;  // L of an inverted picture's tokens, 0 where there are none
  std::map<std::string, Role> roles;
  std::map<std::string, std::string> domains;  // path of a .tokens file by name
  std::optional<Reconstruction> reconstruction;
  std::vector<Golden> golden;
  std::map<std::string, std::string> licences;  // by part: weights, data, domains
  std::map<std::string, FileEntry> files;       // every file but the manifest, by path
};

// Descriptions that sidecars of engines share with manifests; `where` is their place in a message.
// Throw kMalformed.
std::vector<TensorSpec> read_tensor_specs(const nlohmann::json& value, const std::string& where);
FileEntry read_file_entry(const nlohmann::json& value, const std::string& where);

// Every folder that the files lie in, without the bundle's own.
std::set<std::string> folders_of(const std::map<std::string, FileEntry>& files);

}  // namespace refinestyle
