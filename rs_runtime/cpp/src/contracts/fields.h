// Checks of values that came out of JSON: the type, the range, and no field too many or too few.
//
// `where` is the place of the value, such as roles.synthesis.variants[0].file, for the message.
// Each throws kMalformed when its check fails.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>

#include "contracts/error.h"
#include "contracts/strict_json.h"

namespace refinestyle {

// An object with exactly these fields.
void check_object(const Json& value, const std::string& where,
                  std::initializer_list<const char*> names);
// An object with any fields.
void check_mapping(const Json& value, const std::string& where);
void check_list(const Json& value, const std::string& where, std::size_t least = 0);

// Printable text of at most 4096 characters.
std::string check_text(const Json& value, const std::string& where);
// 1 to 64 ASCII letters, digits and _ . + -, the first not a sign.
std::string check_identifier(const Json& value, const std::string& where);
// A SHA-256 in lower-case hexadecimal digits.
std::string check_hash(const Json& value, const std::string& where);
bool is_hash(const std::string& text);
// A relative path that stays inside and means the same on every system. Throws kUnsafe for one that
// is absolute, climbs with .. or uses another system's separators.
std::string check_path(const Json& value, const std::string& where);

std::int64_t check_integer(const Json& value, const std::string& where, std::int64_t low,
                           std::int64_t high);
// A finite number that is not negative.
double check_measure(const Json& value, const std::string& where);

// Reads an object whose keys are identifiers: read(value, place) gives each value.
template <typename Read>
auto check_entries(const Json& value, const std::string& where, Read read) {
  check_mapping(value, where);
  std::map<std::string, decltype(read(value, where))> entries;
  for (const auto& [name, item] : value.items()) {
    entries.emplace(check_identifier(name, where), read(item, where + "." + name));
  }
  return entries;
}

}  // namespace refinestyle
