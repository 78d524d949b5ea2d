// Reads files as the library does and says how each was judged, so that tests can hold the verdicts
// against Python's.
//
// One request a line on standard input, one JSON object a line on standard output:
//   table W_DIM SIDE:CHANNELS ...    sets the layers that token sets must fit; "table" unsets them
//   fingerprint HEX                  sets the generator that they must be made for
//   features                         what this build can do
//   tokens PATH | manifest PATH | bundle PATH | json PATH
//   engine BUNDLE ROLE GRAPH MACHINE  GRAPH is a SHA-256, MACHINE a JSON object
//   sidecar PATH                     also writes it again, to PATH.again
//   native PATH INSTRUCTIONS THREADS also draws a picture with that synthesis graph
//   trunk PATH SIZE INSTRUCTIONS THREADS  also runs that encoder's trunk on a picture
//   cut PATH VALUES                  also writes the piece to PATH.cut; VALUES is a JSON object,
//                                    {"given": {NAME: SHAPE}, "wanted": {NAME: SHAPE}}
//   picture PATH MAX_PIXELS          also writes the pixels to PATH.rgb
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "contracts/bundle.h"
#include "contracts/engine_file.h"
#include "contracts/error.h"
#include "contracts/files.h"
#include "contracts/sha256.h"
#include "contracts/strict_json.h"
#include "contracts/tokens.h"
#ifdef REFINESTYLE_NATIVE
#include "engines/cut.h"
#include "native/refinestyle_native.h"
#endif
#ifdef REFINESTYLE_PICTURE_FILES
#include "image_io/image.h"
#endif

namespace {

using namespace refinestyle;

constexpr std::uint64_t kMaxBytes = 20'000'000;

#ifdef REFINESTYLE_LCMS2
constexpr bool kProfiles = true;
#else
constexpr bool kProfiles = false;
#endif

struct Session {
  std::optional<LayerTable> table;
  std::string fingerprint;
};

Json answer_table(Session& session, std::istringstream& words) {
  session.table.reset();
  std::int64_t w_dim, side, width;
  char colon;
  if (!(words >> w_dim)) return {};
  std::map<std::int64_t, std::int64_t> channels;
  while (words >> side >> colon >> width) channels[side] = width;
  session.table = LayerTable::from_channels(channels, w_dim);
  return {{"hash", session.table->hash()}};
}

Json answer_tokens(const Session& session, const std::string& path) {
  TokenReader reader;
  reader.table = session.table ? &*session.table : nullptr;
  reader.fingerprint = session.fingerprint;
  const TokenSet set = reader.read(path);
  return {{"name", set.name}, {"rank", set.rank()}, {"sha256", sha256_hex(encode_token_set(set))}};
}

Json describe(const Manifest& manifest) {
  return {{"model", manifest.model},
          {"files", manifest.files.size()},
          {"table", manifest.layer_table.hash()}};
}

Json answer_engine(const std::string& bundle, std::istringstream& words) {
  std::string role, graph, text;
  words >> role >> graph;
  std::getline(words, text);
  const Json own = parse_json(text, "machine");
  const Machine machine{own["tensorrt"], own["gpu"], own["compute_capability"], own["cuda_driver"],
                        own["platform"]};
  const FoundEngine found = find_engine(bundle, role, machine, graph);
  return {{"size", read_engine(found).size()}, {"plugin", read_plugin_library(found)}};
}

#ifdef REFINESTYLE_NATIVE
// Small numbers that differ, around an average.
std::vector<float> numbers(std::int64_t count, float average = 0) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = average + 0.2f * std::sin(static_cast<float>(i % 1000));
  }
  return values;
}

double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += std::abs(static_cast<double>(value));
  return sum / static_cast<double>(values.size());
}

Json answer_native(const std::string& path, std::istringstream& words) {
  std::string instructions;
  int threads = 1;
  words >> instructions >> threads;
  const Bytes data = read_file(path, kMaxBytes, "graph");
  char text[1000];
  const std::unique_ptr<rs_native, void (*)(rs_native*)> network(
      rs_native_open(data.data(), data.size(), threads, instructions.c_str(), text, sizeof text),
      rs_native_close);
  if (!network) throw Error(Status::kIncompatible, text);
  const rs_native_shape shape = rs_native_describe(network.get());
  constexpr int kRank = 3;
  const std::size_t pixels = std::size_t{1} * shape.size * shape.size * 3;
  std::vector<float> image_float(pixels);
  std::vector<std::uint8_t> image(pixels);
  std::uint8_t finite = 0;
  rs_native_run(network.get(), numbers(shape.num_ws * shape.w_dim).data(),
                numbers(kRank * shape.sum_out).data(), numbers(kRank * shape.sum_in).data(),
                numbers(shape.style_channels).data(), numbers(shape.sum_in, 1).data(), kRank,
                image_float.data(), image.data(), &finite, nullptr);
  return {{"size", shape.size}, {"mean", mean_of(image_float)},
          {"fastest", rs_native_instructions()}};
}

Json answer_trunk(const std::string& path, std::istringstream& words) {
  int size = 0, threads = 1;
  std::string instructions;
  words >> size >> instructions >> threads;
  const Bytes data = read_file(path, kMaxBytes, "graph");
  char text[1000];
  const std::unique_ptr<rs_native_trunk, void (*)(rs_native_trunk*)> trunk(
      rs_native_trunk_open(data.data(), data.size(), size, threads, instructions.c_str(), text,
                           sizeof text),
      rs_native_trunk_close);
  if (!trunk) throw Error(Status::kIncompatible, text);
  const rs_native_trunk_shape shape = rs_native_trunk_describe(trunk.get());
  std::vector<float> taps[3];
  for (int tap = 0; tap < 3; ++tap) {
    const int side = size >> (tap + 2);
    taps[tap].resize(std::size_t{1} * shape.channels[tap] * side * side);
  }
  rs_native_trunk_run(trunk.get(), numbers(std::int64_t{1} * shape.in * size * size).data(),
                      taps[0].data(), taps[1].data(), taps[2].data(), nullptr);
  return {{"channels", shape.channels},
          {"means", {mean_of(taps[0]), mean_of(taps[1]), mean_of(taps[2])}},
          {"fastest", rs_native_instructions()}};
}

Json answer_cut(const std::string& path, std::istringstream& words) {
  std::string text;
  std::getline(words, text);
  const Json values = parse_json(text, "values");
  const Bytes piece = cut(read_file(path, kMaxBytes, "graph"), values["given"].get<Shapes>(),
                          values["wanted"].get<Shapes>());
  write_atomic(path + ".cut", piece);
  return {{"size", piece.size()}};
}
#endif

Json answer(Session& session, const std::string& line) {
  std::istringstream words(line);
  std::string verb, path;
  words >> verb;
  if (verb == "table") return answer_table(session, words);
  if (verb == "features") return {{"profiles", kProfiles}};
  words >> path;
  if (verb == "fingerprint") {
    session.fingerprint = path;
    return {};
  }
  if (verb == "tokens") return answer_tokens(session, path);
  if (verb == "engine") return answer_engine(path, words);
#ifdef REFINESTYLE_NATIVE
  if (verb == "native") return answer_native(path, words);
  if (verb == "trunk") return answer_trunk(path, words);
  if (verb == "cut") return answer_cut(path, words);
#endif
  if (verb == "bundle") {
    const Bundle bundle = Bundle::open(path);
    bundle.verify();
    return describe(bundle.manifest());
  }
  if (verb == "picture") {
#ifdef REFINESTYLE_PICTURE_FILES
    PictureLimits limits;
    words >> limits.max_pixels;
    const Picture picture = load_picture(path, limits);
    write_atomic(path + ".rgb", picture.pixels);
    return {{"width", picture.width}, {"height", picture.height}};
#else
    throw Error(Status::kResource, "built without picture files");
#endif
  }
  const Bytes data = read_file(path, kMaxBytes, verb);
  if (verb == "manifest") return describe(Manifest::from_json(ByteView(data).text(), path));
  if (verb == "sidecar") {
    write_atomic(path + ".again",
                 view_of(EngineFile::from_json(ByteView(data).text(), path).to_json()));
    return {};
  }
  if (verb == "json") return {{"size", parse_json(ByteView(data).text(), path).size()}};
  throw Error(Status::kUsage, "an unknown request", verb);
}

}  // namespace

int main() {
  Session session;
  for (std::string line; std::getline(std::cin, line);) {
    Json report;
    try {
      report = answer(session, line);
      report["status"] = 0;
    } catch (const Error& error) {
      report = {{"status", static_cast<int>(error.status)}, {"message", error.what()}};
    }
    // Messages show paths as they are; one that is not UTF-8 must not end the session.
    std::cout << report.dump(-1, ' ', true, Json::error_handler_t::replace) << std::endl;
  }
}
