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
//   picture PATH MAX_PIXELS          also writes the pixels to PATH.rgb
#include <iostream>
#include <optional>
#include <sstream>
#include <string>

#include "contracts/bundle.h"
#include "contracts/engine_file.h"
#include "contracts/error.h"
#include "contracts/files.h"
#include "contracts/sha256.h"
#include "contracts/strict_json.h"
#include "contracts/tokens.h"
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
