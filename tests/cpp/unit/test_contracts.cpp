#include <doctest/doctest.h>

#include <cmath>

#include "contracts/domains.h"
#include "contracts/error.h"
#include "contracts/half.h"
#include "contracts/sha256.h"
#include "contracts/strict_json.h"
#include "contracts/token_rules.h"
#include "contracts/unicode.h"

using namespace refinestyle;

namespace {

std::string hash_of(const std::string& text) { return sha256_hex(view_of(text)); }

}  // namespace

TEST_CASE("SHA-256 gives the values of FIPS 180-4") {
  CHECK(hash_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash_of(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on how the data is cut") {
  for (std::size_t size : {1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 200}) {
    const std::string text(size, 'x');
    for (std::size_t cut = 0; cut <= size; ++cut) {
      Sha256 digest;
      digest.update(view_of(text).first(cut));
      digest.update(view_of(text).from(cut));
      CHECK(digest.hex() == hash_of(text));
    }
  }
}

TEST_CASE("every half survives the way to float and back") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float number = half_to_float(half);
    if (std::isnan(number)) {
      CHECK(std::isnan(half_to_float(float_to_half(number))));
    } else {
      CHECK(float_to_half(number) == half);
    }
  }
}

TEST_CASE("floats between two halves go to the nearer one, ties to the even one") {
  for (std::uint16_t half = 0; half < 0x7BFF; ++half) {
    const float low = half_to_float(half);
    const float high = half_to_float(static_cast<std::uint16_t>(half + 1));
    const float middle = (low + high) / 2;
    const int even = half + half % 2;
    CHECK(float_to_half(middle) == even);
    CHECK(float_to_half(std::nextafter(middle, 0.0f)) == half);
    CHECK(float_to_half(std::nextafter(middle, 1e6f)) == half + 1);
    CHECK(float_to_half(-middle) == (even | 0x8000));
  }
  CHECK(std::isinf(half_to_float(float_to_half(65520.0f))));
  CHECK(half_to_float(float_to_half(65519.0f)) == 65504.0f);
}

TEST_CASE("texts are taken apart as UTF-8, and what is not is no character") {
  std::string_view text = "aé名🖌\xFF\xC0\x80\xED\xA0\x80";
  for (const char32_t expected : {U'a', U'é', U'名', U'🖌'})
    CHECK(take_character(text) == expected);
  while (!text.empty()) CHECK(!is_printable(take_character(text)));
  CHECK(is_printable("Zoë, 名 ٣"));
  CHECK(!is_printable("a\u202Eb"));
  CHECK(count_characters("Zoë") == 3);
}

TEST_CASE("messages hold nothing that a terminal obeys") {
  CHECK(escape_text("a\x1b[2J\n\u202E\xFF🖌") == "a\\x1b[2J\\x0a\\u202e\\udcff🖌");
  const Error error(Status::kMalformed, "a\nfile", "1", "2", "again");
  CHECK(std::string(error.what()) == "a\\x0afile\nfound 1, expected 2\nagain");
}

TEST_CASE("canonical JSON is ASCII, sorted and tight") {
  const Json value = {{"b", {1, -2}}, {"a", "é\x7f\"\\\n🖌"}};
  CHECK(canonical_json(value) == R"({"a":"\u00e9\u007f\"\\\n\ud83d\udd8c","b":[1,-2]})");
}

TEST_CASE("names of token sets are made valid") {
  CHECK(clean_name("../Zoë?*") == "_Zoë__");
  CHECK(clean_name(" . ") == "unnamed");
  CHECK(clean_name(std::string(70, 'x')) == std::string(64, 'x'));
}

TEST_CASE("a domain is a name, a path, either with a strength") {
  const std::vector<std::string> known = {"oil", "sketch"};
  const DomainRequest plain = parse_domain("sketch", known);
  CHECK(plain.path.empty());
  CHECK(plain.label() == "sketch");
  CHECK(parse_domain("sketch.tokens", known).name == "sketch");
  CHECK(parse_domain("sketch=0.7", known).strength == 0.7);
  CHECK(parse_domain("sketch=+1e-1", known).strength == 0.1);
  CHECK(parse_domain("sketch.tokens=-2", known).label() == "sketch=-2");
  const std::string folder = std::string(__FILE__).substr(0, std::string(__FILE__).rfind('/'));
  CHECK(parse_domain(folder + "=0.5", known).path == folder);
  for (const char* text : {"other", "=1", "", "sketch=", "sketch=x", "sketch=nan", "sketch=inf",
                           "sketch=1e999", "sketch=1 ", "a=b=1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_domain(text, known), Error);
  }
}
