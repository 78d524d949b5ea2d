#include "contracts/unicode.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace refinestyle {
namespace {

struct Range {
  char32_t first, last;
};
#include "contracts/unicode_ranges.inc"

template <std::size_t count>
bool contains(const Range (&ranges)[count], char32_t character) {
  const Range* after = std::upper_bound(std::begin(ranges), std::end(ranges), character,
                                        [](char32_t c, const Range& r) { return c < r.first; });
  return after != std::begin(ranges) && character <= std::prev(after)->last;
}

// Bytes of the UTF-8 sequence that `lead` begins, 0 for none, and the smallest value that may be
// written so long.
struct Sequence {
  std::size_t length;
  char32_t least;
};

Sequence sequence_of(unsigned char lead) {
  if (lead < 0x80) return {1, 0};
  if ((lead & 0xE0) == 0xC0) return {2, 0x80};
  if ((lead & 0xF0) == 0xE0) return {3, 0x800};
  if ((lead & 0xF8) == 0xF0) return {4, 0x10000};
  return {0, 0};
}

// The character that the sequence at the start of the text encodes, or false.
bool decode(std::string_view text, const Sequence& sequence, char32_t& character) {
  if (sequence.length == 0 || text.size() < sequence.length) return false;
  const auto lead = static_cast<unsigned char>(text[0]);
  character = sequence.length == 1 ? lead : lead & (0x7Fu >> sequence.length);
  for (std::size_t i = 1; i < sequence.length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xC0) != 0x80) return false;
    character = character << 6 | (byte & 0x3Fu);
  }
  const bool surrogate = character >= 0xD800 && character <= 0xDFFF;
  return character >= sequence.least && character <= 0x10FFFF && !surrogate;
}

}  // namespace

char32_t take_character(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const Sequence sequence = sequence_of(lead);
  char32_t character = 0;
  if (decode(text, sequence, character)) {
    text.remove_prefix(sequence.length);
    return character;
  }
  text.remove_prefix(1);
  return 0xDC00u + lead;
}

void append_utf8(std::string& text, char32_t character) {
  const auto add = [&text](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (character < 0x80) return add(character);
  if (character < 0x800) {
    add(0xC0 | character >> 6);
  } else {
    if (character < 0x10000) {
      add(0xE0 | character >> 12);
    } else {
      add(0xF0 | character >> 18);
      add(0x80 | (character >> 12 & 0x3F));
    }
    add(0x80 | (character >> 6 & 0x3F));
  }
  add(0x80 | (character & 0x3F));
}

bool is_printable(char32_t character) { return contains(kPrintable, character); }

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    if (!is_printable(take_character(text))) return false;
  }
  return true;
}

bool is_alphanumeric(char32_t character) { return contains(kAlphanumeric, character); }

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) take_character(text);
  return count;
}

std::string escape_text(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const char32_t character = take_character(text);
    if (is_printable(character)) {
      append_utf8(shown, character);
      continue;
    }
    char escape[11];
    const char* format = character <= 0xFF     ? "\\x%02x"
                         : character <= 0xFFFF ? "\\u%04x"
                                               : "\\U%08x";
    std::snprintf(escape, sizeof escape, format, static_cast<unsigned>(character));
    shown += escape;
  }
  return shown;
}

}  // namespace refinestyle
