// Unfinished files beside the target whose place they will take, as the Python package keeps them.
//
// They are named .refinestyle-<digest of the target's name>-<random>.part and locked while their
// writer lives. A writer that dies leaves one behind; the next process that writes into the folder,
// of whichever language, removes it, as its lock is free.
#pragma once

#include <filesystem>

#include "contracts/descriptor.h"

namespace refinestyle {

// Calls throw std::system_error when the system refuses them.
class Aside {
 public:
  // Creates an empty, locked file beside `target`, with permissions from the umask.
  explicit Aside(const std::filesystem::path& target);
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  ~Aside();  // removes the file unless it was renamed

  Descriptor& file() { return file_; }
  void rename_to(const std::filesystem::path& target);

 private:
  std::filesystem::path path_;
  Descriptor file_;
};

// Removes what dead writers left in a folder, once per process; locks protect living ones.
void sweep_leftovers(const std::filesystem::path& folder);

std::filesystem::path folder_of(const std::filesystem::path& file);

}  // namespace refinestyle
