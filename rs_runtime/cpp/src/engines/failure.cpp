#include "engines/failure.h"

#include <algorithm>
#include <cctype>
#include <sstream>

namespace refinestyle {
namespace {

constexpr std::size_t kLongest = 300;

bool is_path(const std::string& word) {
  const auto separators = std::count(word.begin(), word.end(), '/') +
                          std::count(word.begin(), word.end(), '\\');
  return separators >= 2;
}

bool is_memory(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* sign : {"bad_alloc", "failed to allocate", "out of memory", "outofmemory",
                           "not enough memory", "insufficient memory", "memory allocation"}) {
    if (text.find(sign) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

std::string one_line(const std::string& text) {
  std::istringstream words(text);
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty()) line += ' ';
    line += is_path(word) ? "…" : word;
  }
  // The end says what went wrong, what is before says where.
  return line.size() > kLongest ? "…" + line.substr(line.size() - kLongest) : line;
}

Error engine_failed(const std::string& what, const std::string& text, const std::string& hint) {
  if (is_memory(text)) {
    return Error(Status::kResource, "not enough memory: " + what, one_line(text), "",
                 "use a smaller batch or fewer domains at once");
  }
  return Error(Status::kIncompatible, what, one_line(text), "", hint);
}

Error wrong_inputs(const std::string& label, const std::string& found,
                   const std::string& expected) {
  return Error(Status::kIncompatible,
               "the graph '" + label + "' has other inputs than its manifest says", found,
               expected);
}

}  // namespace refinestyle
