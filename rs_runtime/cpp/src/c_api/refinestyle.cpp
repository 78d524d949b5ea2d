// The C ABI over the pipeline. Nothing is decided here but what NULL means.
#include "refinestyle/refinestyle.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "c_api/last_error.h"
#include "contracts/error.h"
#include "contracts/token_rules.h"
#include "image_io/image.h"
#include "pipeline/runtime.h"

using refinestyle::ByteView;
using refinestyle::Domain;
using refinestyle::Error;
using refinestyle::guarded;
using refinestyle::Mix;
using refinestyle::PixelView;
using refinestyle::Status;

struct refinestyle_picture {
  refinestyle::Picture picture;
};

struct refinestyle_runtime {
  std::shared_ptr<const refinestyle::Runtime> runtime;
};

struct refinestyle_tokens {
  refinestyle::SharedTokens tokens;
};

struct refinestyle_inversion {
  std::shared_ptr<const refinestyle::Runtime> runtime;
  refinestyle::Inverted inverted;
};

namespace {

static_assert(static_cast<int>(Status::kNumerics) == REFINESTYLE_NUMERICS);

// What a pointer points to; NULL where something is needed is the caller's error.
template <class T>
T& given(T* pointer, const char* name) {
  if (pointer != nullptr) return *pointer;
  throw Error(Status::kUsage, std::string(name) + " is NULL");
}

// A list of C; NULL is a list of nothing.
template <class T>
const T* given_list(const T* list, std::size_t count, const char* name) {
  if (count != 0) given(list, name);
  return list;
}

// Pixels of the caller in rows without gaps, copied only if they have gaps.
class Contiguous {
 public:
  explicit Contiguous(const refinestyle_pixels& pixels)
      : view_{pixels.data, pixels.width, pixels.height} {
    if (pixels.data == nullptr || pixels.width < 1 || pixels.height < 1) {
      throw Error(Status::kUsage, "there are no pixels in a picture",
                  std::to_string(pixels.width) + " x " + std::to_string(pixels.height));
    }
    const auto width = static_cast<std::uint64_t>(pixels.width);
    const auto height = static_cast<std::uint64_t>(pixels.height);
    const refinestyle::PictureLimits limits;
    if (width * height > limits.max_pixels) {
      throw Error(Status::kUnsafe, "a picture is too large",
                  std::to_string(pixels.width) + " x " + std::to_string(pixels.height) + " pixels",
                  "at most " + std::to_string(limits.max_pixels));
    }
    const auto row_size = static_cast<std::size_t>(width) * 3;
    if (pixels.row_bytes == 0 || pixels.row_bytes == row_size) return;
    if (pixels.row_bytes < row_size) {
      throw Error(Status::kUsage, "the rows of a picture overlap",
                  std::to_string(pixels.row_bytes) + " bytes a row",
                  "0, or at least " + std::to_string(row_size));
    }
    gathered_.reserve(row_size * static_cast<std::size_t>(height));
    for (std::size_t row = 0; row < height; ++row) {
      const std::uint8_t* line = pixels.data + row * pixels.row_bytes;
      gathered_.insert(gathered_.end(), line, line + row_size);
    }
    view_.data = gathered_.data();
  }

  Contiguous(const Contiguous&) = delete;
  Contiguous& operator=(const Contiguous&) = delete;

  const PixelView& view() const { return view_; }

 private:
  PixelView view_;
  std::vector<std::uint8_t> gathered_;
};

refinestyle::RuntimeOptions options_of(const refinestyle_options* given) {
  const refinestyle_options options = given ? *given : refinestyle_default_options();
  refinestyle::RuntimeOptions own;
  if (options.provider) own.engine.provider = options.provider;
  if (options.onnxruntime) own.engine.onnxruntime = options.onnxruntime;
  own.engine.threads = options.threads;
  own.allow_foreign = options.allow_foreign != 0;
  own.trust = options.trust != 0;
  return own;
}

struct Mixes {
  std::vector<Mix> domains;
  std::vector<double> image_strengths;
};

Mixes mixes_of(const refinestyle_mix* mixes, std::size_t count) {
  given_list(mixes, count, "mixes");
  Mixes own;
  for (std::size_t i = 0; i < count; ++i) {
    given_list(mixes[i].domains, mixes[i].count, "domains of a mix");
    Mix mix;
    for (std::size_t k = 0; k < mixes[i].count; ++k) {
      const refinestyle_domain& domain = mixes[i].domains[k];
      mix.push_back({given(domain.tokens, "tokens of a domain").tokens.get(), domain.strength});
    }
    own.domains.push_back(std::move(mix));
    own.image_strengths.push_back(mixes[i].image_strength);
  }
  return own;
}

void check_size(std::size_t size, std::size_t count, const refinestyle::Runtime& runtime) {
  const auto side = static_cast<std::size_t>(runtime.table().resolution());
  const std::size_t needed = count * side * side * 3;
  if (size == needed) return;
  throw Error(Status::kUsage, "the pixels to be filled are of another size",
              std::to_string(size) + " bytes", std::to_string(needed));
}

void fill(std::uint8_t* pixels, const refinestyle::Tensor& image) {
  std::memcpy(pixels, image.bytes.data(), image.bytes.size());
}

// The name that a token set gets by its file: what is behind the last separator, without ".tokens".
std::string stem_of(const std::string& path) {
  const std::string suffix = ".tokens";
  std::string name = path.substr(path.find_last_of("/\\") + 1);
  const bool has_suffix = name.size() > suffix.size() &&
                          name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
  return has_suffix ? name.substr(0, name.size() - suffix.size()) : name;
}

#ifndef REFINESTYLE_PICTURE_FILES
[[noreturn]] void no_picture_files() {
  throw Error(Status::kResource, "this library was built without picture files", "", "",
              "build it with REFINESTYLE_PICTURE_FILES=ON, or hand over pixels");
}
#endif

}  // namespace

extern "C" {

const char* refinestyle_version(void) noexcept { return REFINESTYLE_VERSION; }

const char* refinestyle_last_error(void) noexcept { return refinestyle::last_error(); }

// ---------------------------------------------------------------------------------------- pictures

refinestyle_status refinestyle_read_picture(const char* path,
                                            refinestyle_picture** picture) noexcept {
  return guarded([&] {
    refinestyle_picture*& out = given(picture, "picture");
    const std::string own = &given(path, "path");
#ifdef REFINESTYLE_PICTURE_FILES
    out = new refinestyle_picture{refinestyle::load_picture(own)};
#else
    static_cast<void>(out);
    no_picture_files();
#endif
  });
}

refinestyle_status refinestyle_decode_picture(const void* data, size_t size,
                                              refinestyle_picture** picture) noexcept {
  return guarded([&] {
    refinestyle_picture*& out = given(picture, "picture");
    const ByteView bytes(given_list(static_cast<const std::uint8_t*>(data), size, "data"), size);
#ifdef REFINESTYLE_PICTURE_FILES
    out = new refinestyle_picture{refinestyle::decode_picture(bytes, "picture")};
#else
    static_cast<void>(out);
    no_picture_files();
#endif
  });
}

refinestyle_pixels refinestyle_picture_pixels(const refinestyle_picture* picture) noexcept {
  if (picture == nullptr) return {nullptr, 0, 0, 0};
  const refinestyle::Picture& own = picture->picture;
  return {own.pixels.data(), own.width, own.height, 0};
}

void refinestyle_picture_free(refinestyle_picture* picture) noexcept { delete picture; }

refinestyle_status refinestyle_write_png(const char* path,
                                         const refinestyle_pixels* pixels) noexcept {
  return guarded([&] {
    const std::string own = &given(path, "path");
    const Contiguous gathered(given(pixels, "pixels"));
#ifdef REFINESTYLE_PICTURE_FILES
    const PixelView& view = gathered.view();
    refinestyle::write_png(own, view.data, view.width, view.height);
#else
    no_picture_files();
#endif
  });
}

// ----------------------------------------------------------------------------------------- runtime

refinestyle_options refinestyle_default_options(void) noexcept {
  return {"auto", nullptr, 0, 0, 0};
}

const char* refinestyle_providers(void) noexcept {
  try {
    return refinestyle::built_providers().c_str();
  } catch (...) {  // the list is made on the first call
    return "";
  }
}

refinestyle_status refinestyle_open(const char* bundle, const refinestyle_options* options,
                                    refinestyle_runtime** runtime) noexcept {
  return guarded([&] {
    refinestyle_runtime*& out = given(runtime, "runtime");
    const std::string path = &given(bundle, "bundle");
    auto opened = std::make_shared<const refinestyle::Runtime>(path, options_of(options));
    out = new refinestyle_runtime{std::move(opened)};
  });
}

void refinestyle_close(refinestyle_runtime* runtime) noexcept { delete runtime; }

int32_t refinestyle_resolution(const refinestyle_runtime* runtime) noexcept {
  return runtime ? runtime->runtime->table().resolution() : 0;
}

const char* refinestyle_provider(const refinestyle_runtime* runtime) noexcept {
  return runtime ? runtime->runtime->provider() : "";
}

double refinestyle_error_limit(const refinestyle_runtime* runtime) noexcept {
  const bool known = runtime && runtime->runtime->manifest().reconstruction;
  return known ? runtime->runtime->manifest().reconstruction->mse_p99
               : std::numeric_limits<double>::quiet_NaN();
}

size_t refinestyle_domain_count(const refinestyle_runtime* runtime) noexcept {
  return runtime ? runtime->runtime->domains().size() : 0;
}

const char* refinestyle_domain_name(const refinestyle_runtime* runtime, size_t index) noexcept {
  if (index >= refinestyle_domain_count(runtime)) return nullptr;
  return runtime->runtime->domains()[index].c_str();
}

// ----------------------------------------------------------------------------------------- domains

refinestyle_status refinestyle_find_tokens(const refinestyle_runtime* runtime, const char* text,
                                           refinestyle_tokens** tokens,
                                           double* strength) noexcept {
  return guarded([&] {
    refinestyle_tokens*& out = given(tokens, "tokens");
    const std::string asked = &given(text, "text");
    double found_strength = 1;
    auto found = given(runtime, "runtime").runtime->find_tokens(asked, found_strength);
    if (strength == nullptr && found_strength != 1) {
      throw Error(Status::kUsage, "'" + asked + "' has a strength where none is taken");
    }
    out = new refinestyle_tokens{std::move(found)};
    if (strength != nullptr) *strength = found_strength;
  });
}

refinestyle_status refinestyle_decode_tokens(const refinestyle_runtime* runtime, const void* data,
                                             size_t size, refinestyle_tokens** tokens) noexcept {
  return guarded([&] {
    refinestyle_tokens*& out = given(tokens, "tokens");
    const ByteView bytes(given_list(static_cast<const std::uint8_t*>(data), size, "data"), size);
    out = new refinestyle_tokens{given(runtime, "runtime").runtime->decode_tokens(bytes)};
  });
}

const char* refinestyle_tokens_name(const refinestyle_tokens* tokens) noexcept {
  return tokens ? tokens->tokens->name.c_str() : "";
}

void refinestyle_tokens_free(refinestyle_tokens* tokens) noexcept { delete tokens; }

// -------------------------------------------------------------------------------------- inversions

refinestyle_status refinestyle_invert(const refinestyle_runtime* runtime,
                                      const refinestyle_pixels* pictures, size_t count,
                                      refinestyle_inversion** inversion) noexcept {
  return guarded([&] {
    refinestyle_inversion*& out = given(inversion, "inversion");
    const auto& own = given(runtime, "runtime").runtime;
    given_list(pictures, count, "pictures");
    const std::vector<Contiguous> gathered(pictures, pictures + count);
    std::vector<PixelView> views;
    for (const Contiguous& picture : gathered) views.push_back(picture.view());
    out = new refinestyle_inversion{own, own->invert(views)};
  });
}

refinestyle_status refinestyle_restore(const refinestyle_runtime* runtime,
                                       const refinestyle_tokens* tokens,
                                       refinestyle_inversion** inversion) noexcept {
  return guarded([&] {
    refinestyle_inversion*& out = given(inversion, "inversion");
    const auto& own = given(runtime, "runtime").runtime;
    out = new refinestyle_inversion{own, own->restore(*given(tokens, "tokens").tokens)};
  });
}

void refinestyle_inversion_free(refinestyle_inversion* inversion) noexcept { delete inversion; }

size_t refinestyle_inversion_count(const refinestyle_inversion* inversion) noexcept {
  return inversion ? inversion->inverted.count() : 0;
}

refinestyle_status refinestyle_synthesize(const refinestyle_inversion* inversion,
                                          const refinestyle_mix* mixes, size_t mix_count,
                                          uint8_t* pixels, size_t size) noexcept {
  return guarded([&] {
    const auto& [runtime, inverted] = given(inversion, "inversion");
    uint8_t* out = &given(pixels, "pixels");
    check_size(size, inverted.count(), *runtime);
    Mixes own = mixes_of(mixes, mix_count);
    if (mix_count < 2) {
      const double strength = mix_count == 0 ? 1.0 : own.image_strengths[0];
      own.image_strengths.assign(inverted.count(), strength);
    }
    fill(out, runtime->synthesize(inverted, own.domains, own.image_strengths));
  });
}

refinestyle_status refinestyle_reconstruction_errors(const refinestyle_inversion* inversion,
                                                     double* errors, size_t count) noexcept {
  return guarded([&] {
    const auto& [runtime, inverted] = given(inversion, "inversion");
    double* out = &given(errors, "errors");
    if (count != inverted.count()) {
      throw Error(Status::kUsage, "there is not room for one error a picture",
                  std::to_string(count), std::to_string(inverted.count()));
    }
    const std::vector<double> found = runtime->reconstruction_errors(inverted);
    std::copy(found.begin(), found.end(), out);
  });
}

refinestyle_status refinestyle_save_tokens(const refinestyle_inversion* inversion, size_t index,
                                           const char* path) noexcept {
  return guarded([&] {
    const auto& [runtime, inverted] = given(inversion, "inversion");
    const std::string to = &given(path, "path");
    const std::string name = refinestyle::clean_name(stem_of(to));
    refinestyle::write_token_set(to, runtime->token_set(inverted, index, name));
  });
}

refinestyle_status refinestyle_synth(const refinestyle_runtime* runtime, const uint32_t* seeds,
                                     size_t count, double truncation_psi,
                                     const refinestyle_mix* mixes, size_t mix_count,
                                     uint8_t* pixels, size_t size) noexcept {
  return guarded([&] {
    const auto& own = given(runtime, "runtime").runtime;
    given_list(seeds, count, "seeds");
    uint8_t* out = &given(pixels, "pixels");
    check_size(size, count, *own);
    const Mixes asked = mixes_of(mixes, mix_count);
    fill(out, own->synth({seeds, seeds + count}, truncation_psi, asked.domains));
  });
}

}  // extern "C"
