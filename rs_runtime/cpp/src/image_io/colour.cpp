#include "image_io/colour.h"

#include <optional>
#include <string_view>
#include <utility>

#if defined(REFINESTYLE_LCMS2)
#include <lcms2.h>

#include <memory>
#include <type_traits>
#endif

namespace refinestyle {
namespace {

constexpr std::size_t kMaxProfileBytes = 4'000'000;

Bytes cmyk_to_rgb(const Bytes& inks) {
  Bytes pixels;
  pixels.reserve(inks.size() / 4 * 3);
  for (std::size_t at = 0; at < inks.size(); at += 4) {
    const int light = 255 - inks[at + 3];
    for (std::size_t i = 0; i < 3; ++i) {
      const int absorbed = (inks[at + i] * light + 127) / 255;
      pixels.push_back(static_cast<std::uint8_t>(light - absorbed));
    }
  }
  return pixels;
}

#if defined(REFINESTYLE_LCMS2)

struct Close {
  void operator()(void* profile) const { cmsCloseProfile(profile); }
};
using Profile = std::unique_ptr<std::remove_pointer_t<cmsHPROFILE>, Close>;

bool is_srgb(const Profile& profile) {
  char text[256] = "";
  cmsGetProfileInfoASCII(profile.get(), cmsInfoDescription, "en", cmsNoCountry, text, sizeof text);
  return std::string_view(text).find("sRGB") != std::string_view::npos;
}

// RGB pixels of what the profile describes, or none when it does not apply.
std::optional<Bytes> convert(const DecodedPicture& picture, const std::string&) {
  const auto size = static_cast<cmsUInt32Number>(picture.profile.size());
  const Profile own(cmsOpenProfileFromMem(picture.profile.data(), size));
  if (!own || is_srgb(own)) return std::nullopt;
  const cmsColorSpaceSignature space = cmsGetColorSpace(own.get());
  const bool from_cmyk = space == cmsSigCmykData && picture.channels == 4;
  if (!from_cmyk && space != cmsSigRgbData) return std::nullopt;
  const Profile srgb(cmsCreate_sRGBProfile());
  const cmsHTRANSFORM transform =
      cmsCreateTransform(own.get(), from_cmyk ? TYPE_CMYK_8 : TYPE_RGB_8, srgb.get(), TYPE_RGB_8,
                         INTENT_PERCEPTUAL, 0);
  if (transform == nullptr) return std::nullopt;
  const Bytes plain =
      !from_cmyk && picture.channels == 4 ? cmyk_to_rgb(picture.pixels) : picture.pixels;
  const std::size_t count = std::size_t(picture.width) * picture.height;
  Bytes pixels(count * 3);
  cmsDoTransform(transform, plain.data(), pixels.data(), static_cast<cmsUInt32Number>(count));
  cmsDeleteTransform(transform);
  return pixels;
}

#else

// Whether the profile would change something, as far as its header and its texts tell.
std::optional<Bytes> convert(const DecodedPicture& picture, const std::string& name) {
  using namespace std::string_view_literals;
  const std::string_view profile = picture.profile;
  const bool is_profile = profile.size() >= 128 && profile.substr(36, 4) == "acsp";
  const std::string_view space = is_profile ? profile.substr(16, 4) : "";
  const bool applies = space == "RGB " || (space == "CMYK" && picture.channels == 4);
  const bool is_srgb =
      profile.find("sRGB") != profile.npos || profile.find("s\0R\0G\0B"sv) != profile.npos;
  if (!applies || is_srgb) return std::nullopt;
  throw Error(Status::kResource, name + ": this build cannot convert the picture's colour profile",
              "", "", "build with lcms2, or convert the picture to sRGB first");
}

#endif

}  // namespace

Picture to_srgb(DecodedPicture picture, const std::string& name) {
  Picture result;
  result.width = picture.width;
  result.height = picture.height;
  if (!picture.profile.empty() && picture.profile.size() <= kMaxProfileBytes) {
    if (auto pixels = convert(picture, name)) {
      result.pixels = std::move(*pixels);
      return result;
    }
  }
  result.pixels = picture.channels == 4 ? cmyk_to_rgb(picture.pixels) : std::move(picture.pixels);
  return result;
}

}  // namespace refinestyle
