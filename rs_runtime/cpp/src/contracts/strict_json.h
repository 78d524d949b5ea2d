// JSON without surprises: one canonical writing, and a reader that refuses what JSON leaves open.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace refinestyle {

using Json = nlohmann::json;

// Parses JSON text; `what` names it in messages. Throws kMalformed for what is not UTF-8 or not
// JSON, a key twice in one object, a number too large for a double, nesting deeper than 32.
Json parse_json(std::string_view text, const std::string& what);

// Returns the one text that stands for a value: sorted keys, no white space, ASCII. The value holds
// no floats; strings are UTF-8.
std::string canonical_json(const Json& value);

}  // namespace refinestyle
