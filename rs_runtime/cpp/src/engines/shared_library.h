// Libraries that are loaded while the program runs.
#pragma once

#include <string>

namespace refinestyle {

// Loads a library, by path or by the loader's search, and gives the address of one of its symbols.
// It stays loaded until the process ends. Throws kResource, with the loader's reason.
void* load_symbol(const std::string& library, const char* symbol);

// A library that has to be installed on the machine, in the version that our headers are of.
struct InstalledLibrary {
  std::string name;  // as users know it
  int major;
  std::string file;  // as the loader finds it
};

// Gives one of its functions. Throws kResource, with what to install.
void* load_symbol(const InstalledLibrary& library, const char* symbol);

template <class Function>
Function load_function(const InstalledLibrary& library, const char* symbol) {
  return reinterpret_cast<Function>(load_symbol(library, symbol));
}

}  // namespace refinestyle
