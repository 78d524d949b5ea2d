// Libraries that are loaded while the program runs.
#pragma once

#include <string>

namespace refinestyle {

// Loads a library, by path or by the loader's search, and gives the address of one of its symbols.
// It stays loaded until the process ends. Throws kResource, with the loader's reason.
void* load_symbol(const std::string& library, const char* symbol);

}  // namespace refinestyle
