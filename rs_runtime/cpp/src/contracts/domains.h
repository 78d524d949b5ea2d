// From what a user writes to a domain: "sketch", "sketch=0.7", a path, a path with a strength.
#pragma once

#include <string>
#include <vector>

namespace refinestyle {

struct DomainRequest {
  std::string path;  // the file to read; empty for a domain of the bundle
  std::string name;  // the bundle's name of it, or the file's stem
  double strength = 1.0;

  std::string label() const;  // as in file names and captions: "sketch", "sketch=0.7"
};

// An existing file comes first; then the name, with or without ".tokens", among `known`, the
// bundle's domains. A last "=number" is the strength, unless a file has exactly that name.
// Throws kUsage for neither a file nor a domain, or a strength that is no finite number.
DomainRequest parse_domain(const std::string& text, const std::vector<std::string>& known);

}  // namespace refinestyle
