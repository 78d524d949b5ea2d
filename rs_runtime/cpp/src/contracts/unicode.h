// Which characters of a text are safe to show, and which are letters or digits.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace refinestyle {

// Takes the first character off a UTF-8 text that is not empty. A byte that is not UTF-8 comes as
// U+DC80 + its low bits, as in Python, which nothing takes for printable.
char32_t take_character(std::string_view& text);

void append_utf8(std::string& text, char32_t character);

// No control, format, private-use, unassigned or surrogate character, and no space but U+0020.
bool is_printable(char32_t character);
bool is_printable(std::string_view text);

// A letter or digit of any script.
bool is_alphanumeric(char32_t character);

std::size_t count_characters(std::string_view text);

// Returns the text with every character that is not printable written as \xNN, \uNNNN or
// \UNNNNNNNN, so that a terminal obeys nothing that comes from a file.
std::string escape_text(std::string_view text);

}  // namespace refinestyle
