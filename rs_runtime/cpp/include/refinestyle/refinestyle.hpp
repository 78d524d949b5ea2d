// RefineStyle's runtime for C++17: refinestyle.h with owners that end what they own, values in
// place of out-parameters, and exceptions in place of statuses. Header-only.
//
//     refinestyle::Runtime runtime("bundle");
//     auto portrait = runtime.invert(refinestyle::Image::read("photo.jpg"));
//     portrait.synthesize({runtime.domain("sketch=0.8")}).write_png("sketch.png");
//
// The threading rule is that of refinestyle.h: const members may be called from any number of
// threads at once. Copies of a handle share it.
#ifndef REFINESTYLE_REFINESTYLE_HPP
#define REFINESTYLE_REFINESTYLE_HPP

#include <refinestyle/refinestyle.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace refinestyle {

// A call that failed: what() says what failed, what was found and expected, and what to do.
class Failure : public std::runtime_error {
 public:
  explicit Failure(refinestyle_status status)
    : std::runtime_error(refinestyle_last_error()), status_(status) {}

  // Equal to the exit status with which rs-run ends on such an error.
  refinestyle_status status() const noexcept { return status_; }

 private:
  refinestyle_status status_;
};

inline void check(refinestyle_status status) {
  if (status != REFINESTYLE_OK) throw Failure(status);
}

// RGB pixels in sRGB, 8 bits each, top row first, without gaps.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;

  // Reads a JPEG or PNG file.
  static Image read(const std::string& path) {
    refinestyle_picture* picture = nullptr;
    check(refinestyle_read_picture(path.c_str(), &picture));
    return take(picture);
  }

  // The same of a file's bytes.
  static Image decode(const void* data, std::size_t size) {
    refinestyle_picture* picture = nullptr;
    check(refinestyle_decode_picture(data, size, &picture));
    return take(picture);
  }

  // Replaces what is there only when the whole file is written.
  void write_png(const std::string& path) const {
    const refinestyle_pixels own = view();
    check(refinestyle_write_png(path.c_str(), &own));
  }

  refinestyle_pixels view() const noexcept { return {pixels.data(), width, height, 0}; }

 private:
  static Image take(refinestyle_picture* picture) {
    const std::unique_ptr<refinestyle_picture, void (*)(refinestyle_picture*)> own(
      picture, refinestyle_picture_free);
    const refinestyle_pixels found = refinestyle_picture_pixels(picture);
    const auto size = static_cast<std::size_t>(found.width) * 3 *
              static_cast<std::size_t>(found.height);
    Image image;
    image.width = found.width;
    image.height = found.height;
    image.pixels.assign(found.data, found.data + size);
    return image;
  }
};

// A token set and the factor on what it changes.
struct Domain {
  std::shared_ptr<const refinestyle_tokens> tokens;
  double strength = 1;

  std::string name() const { return refinestyle_tokens_name(tokens.get()); }
};

// What one picture is drawn with: domains, which add up, and the factor on its own tokens.
struct Mix {
  std::vector<Domain> domains;
  double image_strength = 1;

  Mix() = default;
  Mix(std::initializer_list<Domain> domains, double image_strength = 1)
    : domains(domains), image_strength(image_strength) {}
  explicit Mix(std::vector<Domain> domains, double image_strength = 1)
    : domains(std::move(domains)), image_strength(image_strength) {}
};

namespace detail {

// Mixes as C takes them; they point into the ones they were made of.
class MixList {
 public:
  explicit MixList(const std::vector<Mix> &mixes) : domains_(mixes.size()) {
    for (std::size_t i = 0; i < mixes.size(); ++i) {
      for (const Domain& domain : mixes[i].domains) {
        domains_[i].push_back({domain.tokens.get(), domain.strength});
      }
      mixes_.push_back({domains_[i].data(), domains_[i].size(), mixes[i].image_strength});
    }
  }

  const refinestyle_mix* data() const noexcept { return mixes_.data(); }
  std::size_t size() const noexcept { return mixes_.size(); }

 private:
  std::vector<std::vector<refinestyle_domain>> domains_;
  std::vector<refinestyle_mix> mixes_;
};

// Square pictures of one side that lie one behind the other.
inline std::vector<Image> split(const std::vector<std::uint8_t> &pixels, int side) {
  const auto size = static_cast<std::size_t>(side) * static_cast<std::size_t>(side) * 3;
  std::vector<Image> images(pixels.size() / size);
  for (std::size_t i = 0; i < images.size(); ++i) {
    images[i].width = images[i].height = side;
    const std::uint8_t* begin = pixels.data() + i * size;
    images[i].pixels.assign(begin, begin + size);
  }
  return images;
}

}  // namespace detail

// What pictures became: latents and tokens, to be drawn in any mix of domains. It never changes.
class Inversion {
 public:
  std::size_t size() const noexcept { return refinestyle_inversion_count(inversion_.get()); }

  // Draws each picture: without a mix as it is, with one mix for all, or each with its own.
  std::vector<Image> synthesize_all(const std::vector<Mix> &mixes = {}) const {
    const auto side = static_cast<std::size_t>(side_);
    std::vector<std::uint8_t> pixels(size() * side * side * 3);
    const detail::MixList list(mixes);
    check(refinestyle_synthesize(inversion_.get(), list.data(), list.size(), pixels.data(),
                  pixels.size()));
    return detail::split(pixels, side_);
  }

  // Draws the first picture, that of an inversion of one.
  Image synthesize(const Mix& mix = {}) const { return synthesize_all({mix}).front(); }

  // Mean squared error of each reconstruction in [-1, 1] units.
  std::vector<double> reconstruction_errors() const {
    std::vector<double> errors(size());
    check(refinestyle_reconstruction_errors(inversion_.get(), errors.data(), errors.size()));
    return errors;
  }

  void save_tokens(const std::string& path, std::size_t index = 0) const {
    check(refinestyle_save_tokens(inversion_.get(), index, path.c_str()));
  }

 private:
  friend class Runtime;

  Inversion(refinestyle_inversion* inversion, int side)
    : inversion_(inversion, refinestyle_inversion_free), side_(side) {}

  std::shared_ptr<const refinestyle_inversion> inversion_;
  int side_;
};

// How a bundle is opened; see refinestyle_options.
struct Options {
  std::string provider = "auto";
  std::string onnxruntime;
  int threads = 0;
  bool allow_foreign = false;
  bool trust = false;
};

// A bundle, ready to invert and to synthesize.
class Runtime {
 public:
  explicit Runtime(const std::string& bundle, const Options& options = {})
    : runtime_(open(bundle, options), refinestyle_close) {}

  // Side in pixels of the pictures that it draws.
  int resolution() const noexcept { return refinestyle_resolution(runtime_.get()); }

  // The provider in use, "" while "auto" has not opened its first graph.
  std::string provider() const { return refinestyle_provider(runtime_.get()); }

  // The reconstruction error that 1 % of the pictures which the bundle knows exceed, or NaN.
  double error_limit() const noexcept { return refinestyle_error_limit(runtime_.get()); }

  // Names of the bundle's domains.
  std::vector<std::string> domains() const {
    std::vector<std::string> names(refinestyle_domain_count(runtime_.get()));
    for (std::size_t i = 0; i < names.size(); ++i) {
      names[i] = refinestyle_domain_name(runtime_.get(), i);
    }
    return names;
  }

  // "sketch", "sketch=0.8", or the path of a token set, a strength behind it or not.
  Domain domain(const std::string& text) const {
    refinestyle_tokens* tokens = nullptr;
    double strength = 1;
    check(refinestyle_find_tokens(runtime_.get(), text.c_str(), &tokens, &strength));
    return own(tokens, strength);
  }

  // A token set from the bytes of its file.
  Domain decode_domain(const void* data, std::size_t size, double strength = 1) const {
    refinestyle_tokens* tokens = nullptr;
    check(refinestyle_decode_tokens(runtime_.get(), data, size, &tokens));
    return own(tokens, strength);
  }

  Inversion invert(const std::vector<refinestyle_pixels> &pictures) const {
    refinestyle_inversion* inversion = nullptr;
    check(refinestyle_invert(runtime_.get(), pictures.data(), pictures.size(), &inversion));
    return {inversion, resolution()};
  }

  Inversion invert(const Image& picture) const {
    return invert(std::vector<refinestyle_pixels>{picture.view()});
  }

  // Brings back what Inversion::save_tokens kept.
  Inversion restore(const Domain& saved) const {
    refinestyle_inversion* inversion = nullptr;
    check(refinestyle_restore(runtime_.get(), saved.tokens.get(), &inversion));
    return {inversion, resolution()};
  }

  // Draws random pictures; equal seeds give equal heads in all domains.
  std::vector<Image> synth(const std::vector<std::uint32_t> &seeds,
              const std::vector<Mix> &mixes = {},
              double truncation_psi = 0.7) const {
    const auto side = static_cast<std::size_t>(resolution());
    std::vector<std::uint8_t> pixels(seeds.size() * side * side * 3);
    const detail::MixList list(mixes);
    check(refinestyle_synth(runtime_.get(), seeds.data(), seeds.size(), truncation_psi,
                list.data(), list.size(), pixels.data(), pixels.size()));
    return detail::split(pixels, resolution());
  }

 private:
  static refinestyle_runtime* open(const std::string& bundle, const Options& options) {
    refinestyle_options own = refinestyle_default_options();
    own.provider = options.provider.c_str();
    own.onnxruntime = options.onnxruntime.empty() ? nullptr : options.onnxruntime.c_str();
    own.threads = options.threads;
    own.allow_foreign = options.allow_foreign;
    own.trust = options.trust;
    refinestyle_runtime* runtime = nullptr;
    check(refinestyle_open(bundle.c_str(), &own, &runtime));
    return runtime;
  }

  static Domain own(refinestyle_tokens* tokens, double strength) {
    return {std::shared_ptr<const refinestyle_tokens>(tokens, refinestyle_tokens_free),
        strength};
  }

  std::shared_ptr<const refinestyle_runtime> runtime_;
};

}  // namespace refinestyle

#endif
