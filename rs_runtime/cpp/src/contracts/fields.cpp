#include "contracts/fields.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "contracts/unicode.h"

namespace refinestyle {
namespace {

constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kMaxIdentifier = 64;
constexpr std::size_t kMaxSegment = 100;
constexpr std::size_t kMaxSegments = 8;

Error malformed(std::string failed, std::string found = "", std::string expected = "") {
  return {Status::kMalformed, std::move(failed), std::move(found), std::move(expected)};
}

void require_type(bool is_right, const Json& value, const std::string& where,
                  const char* expected) {
  if (!is_right) throw malformed(where + ": wrong type", value.type_name(), expected);
}

const std::string& text_of(const Json& value, const std::string& where) {
  require_type(value.is_string(), value, where, "a string");
  return value.get_ref<const std::string&>();
}

bool is_word(char ch) {
  return (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
         ch == '_';
}

// Letters, digits and _ . + -, the first not a sign.
bool is_plain_name(std::string_view text, std::size_t longest) {
  return !text.empty() && text.size() <= longest && is_word(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [](char ch) { return is_word(ch) || ch == '.' || ch == '+' || ch == '-'; });
}

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> segments;
  for (std::size_t slash; (slash = path.find('/')) != path.npos; path.remove_prefix(slash + 1)) {
    segments.push_back(path.substr(0, slash));
  }
  segments.push_back(path);
  return segments;
}

}  // namespace

void check_object(const Json& value, const std::string& where,
                  std::initializer_list<const char*> names) {
  check_mapping(value, where);
  for (const char* name : names) {
    if (!value.contains(name)) throw malformed(where + ": missing field " + name);
  }
  for (const auto& [name, item] : value.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw malformed(where + ": unknown field " + name.substr(0, 80));
    }
  }
}

void check_mapping(const Json& value, const std::string& where) {
  require_type(value.is_object(), value, where, "an object");
}

void check_list(const Json& value, const std::string& where, std::size_t least) {
  require_type(value.is_array(), value, where, "a list");
  if (value.size() < least) {
    throw malformed(where + ": too few items", std::to_string(value.size()), std::to_string(least));
  }
}

std::string check_text(const Json& value, const std::string& where) {
  const std::string& text = text_of(value, where);
  const bool printable = is_printable(text);
  const std::size_t size = count_characters(text);
  if (!printable || size > kMaxText) {
    throw malformed(where + ": not plain text",
                    printable ? std::to_string(size) + " characters" : "control characters",
                    "at most " + std::to_string(kMaxText) + " printable characters");
  }
  return text;
}

std::string check_identifier(const Json& value, const std::string& where) {
  const std::string& text = text_of(value, where);
  if (!is_plain_name(text, kMaxIdentifier)) {
    throw malformed(where + ": not an identifier", text.substr(0, 80),
                    "1 to 64 of letters, digits, _ . + -");
  }
  return text;
}

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string check_hash(const Json& value, const std::string& where) {
  const std::string& text = text_of(value, where);
  if (!is_hash(text)) {
    throw malformed(where + ": not a SHA-256", text.substr(0, 80), "64 hexadecimal digits");
  }
  return text;
}

std::string check_path(const Json& value, const std::string& where) {
  const std::string path = check_text(value, where);
  const auto segments = segments_of(path);
  const bool climbs = std::find(segments.begin(), segments.end(), "..") != segments.end();
  if (path.substr(0, 1) == "/" || climbs || path.find_first_of("\\:") != path.npos) {
    throw Error(Status::kUnsafe, where + ": a path that leads out of the bundle",
                path.substr(0, 120));
  }
  const bool plain = std::all_of(segments.begin(), segments.end(), [](std::string_view segment) {
    return is_plain_name(segment, kMaxSegment) && segment.back() != '.';
  });
  if (!plain || segments.size() > kMaxSegments) {
    throw malformed(where + ": not a path for a bundle", path.substr(0, 120),
                    "names of letters, digits, _ . + - joined by /");
  }
  return path;
}

std::int64_t check_integer(const Json& value, const std::string& where, std::int64_t low,
                           std::int64_t high) {
  require_type(value.is_number_integer(), value, where, "an integer");
  // Beyond the largest signed number, where get() would wrap, it is out of every range.
  const bool fits = !value.is_number_unsigned() ||
                    value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
  const std::int64_t number = fits ? value.get<std::int64_t>() : 0;
  if (!fits || number < low || number > high) {
    throw malformed(where + ": out of range", value.dump(),
                    std::to_string(low) + " to " + std::to_string(high));
  }
  return number;
}

double check_measure(const Json& value, const std::string& where) {
  const double number = value.is_number() ? value.get<double>() : -1;
  if (!(number >= 0) || std::isinf(number)) {
    throw malformed(where + ": not a measure", value.dump(-1, ' ', true).substr(0, 40),
                    "a number from 0");
  }
  return number;
}

}  // namespace refinestyle
