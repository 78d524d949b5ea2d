// The errors a user may see. The status of each is the exit code of the command line.
#pragma once

#include <exception>
#include <string>

namespace refinestyle {

enum class Status {
  kOk = 0,
  kInternal = 1,      // a bug of this project
  kUsage = 2,         // a wrong argument, a missing path, an unknown name
  kMalformed = 3,     // a file is damaged, incomplete or not what it claims to be
  kUnsafe = 4,        // refused: too large, leads out of its folder
  kIncompatible = 5,  // sound, but of another version, generator or engine
  kResource = 6,      // the machine lacks something: a device, memory, disk space, permission
  kNumerics = 7,      // NaN, infinity, divergence
};

class Error final : public std::exception {
 public:
  // failed: what failed, naming the file or value. found, expected and hint (the next step) may be
  // empty. Texts may come from files: what() shows them with every unprintable character escaped.
  Error(Status status, std::string failed, std::string found = "", std::string expected = "",
        std::string hint = "");

  // What failed; found and expected; the hint. One line each.
  const char* what() const noexcept override { return message_.c_str(); }

  Status status;
  std::string failed, found, expected, hint;

 private:
  std::string message_;
};

}  // namespace refinestyle
