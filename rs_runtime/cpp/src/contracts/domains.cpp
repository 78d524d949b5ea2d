#include "contracts/domains.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>

#include "contracts/descriptor.h"
#include "contracts/error.h"

namespace refinestyle {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".tokens";

std::string without_suffix(std::string text) {
  const bool has_suffix = text.size() >= kSuffix.size() &&
                          text.compare(text.size() - kSuffix.size(), kSuffix.npos, kSuffix) == 0;
  if (has_suffix) text.resize(text.size() - kSuffix.size());
  return text;
}

// The file or the bundle's domain of that name; a folder called like a domain is no file.
std::optional<DomainRequest> find(const std::string& text, const std::vector<std::string>& known) {
  const std::string name = without_suffix(text);
  const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
  std::error_code ignored;
  if (!text.empty() && text.find('\0') == text.npos) {
    const fs::path path = to_path(text);
    if (fs::exists(fs::symlink_status(path, ignored)) &&
        !(is_known && fs::is_directory(path, ignored))) {
      return DomainRequest{text, without_suffix(to_text(path.filename()))};
    }
  }
  if (is_known) return DomainRequest{"", name};
  return std::nullopt;
}

Error unknown(const std::string& text, const std::vector<std::string>& known) {
  std::string listed;
  for (const std::string& name : known) listed += (listed.empty() ? "" : ", ") + name;
  return {Status::kUsage, "'" + text + "' is neither a token-set file nor a domain of the bundle",
          "", "a path, or one of: " + (listed.empty() ? "none" : listed)};
}

double read_strength(const std::string& text, const std::string& whole) {
  const char* begin = text.data() + (text.substr(0, 1) == "+" ? 1 : 0);
  const char* end = text.data() + text.size();
  double strength = NAN;
  const auto [rest, error] = std::from_chars(begin, end, strength);
  if (error != std::errc() || rest != end || !std::isfinite(strength)) {
    throw Error(Status::kUsage, "'" + whole + "' has no strength that is a finite number", text,
                "NAME=NUMBER, for example sketch=0.7");
  }
  return strength;
}

}  // namespace

std::string DomainRequest::label() const {
  if (strength == 1) return name;
  char number[32];  // as %g writes it, whatever the locale
  const auto end =
      std::to_chars(number, number + sizeof number, strength, std::chars_format::general, 6);
  return name + "=" + std::string(number, end.ptr);
}

DomainRequest parse_domain(const std::string& text, const std::vector<std::string>& known) {
  if (const auto found = find(text, known)) return *found;
  const std::size_t equals = text.rfind('=');
  if (equals == text.npos) throw unknown(text, known);
  const std::string head = text.substr(0, equals);
  auto found = find(head, known);
  if (!found) throw unknown(head, known);
  found->strength = read_strength(text.substr(equals + 1), text);
  return *found;
}

}  // namespace refinestyle
