#include "engines/shared_library.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "contracts/error.h"

namespace refinestyle {
namespace {

#ifdef _WIN32

void* find(const std::string& library, const char* symbol) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, library.c_str(), -1, nullptr, 0);
  std::wstring path(static_cast<std::size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, library.c_str(), -1, path.data(), length);
  const HMODULE opened = LoadLibraryW(path.c_str());
  return opened ? reinterpret_cast<void*>(GetProcAddress(opened, symbol)) : nullptr;
}

std::string reason() { return "Windows error " + std::to_string(GetLastError()); }

#else

void* find(const std::string& library, const char* symbol) {
  // Local, so that another copy of the library in the process is not mixed up with this one.
  void* opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  return opened ? dlsym(opened, symbol) : nullptr;
}

std::string reason() {
  const char* text = dlerror();
  return text ? text : "no reason given";
}

#endif

}  // namespace

void* load_symbol(const std::string& library, const char* symbol) {
  if (void* address = find(library, symbol)) return address;
  throw Error(Status::kResource, library + ": the library cannot be loaded", reason());
}

void* load_symbol(const InstalledLibrary& library, const char* symbol) {
  if (void* address = find(library.file, symbol)) return address;
  throw Error(Status::kResource, library.name + " is not installed", reason(), library.file,
              "install " + library.name + " " + std::to_string(library.major) +
                  " (on Jetson it comes with JetPack) where the loader finds it");
}

}  // namespace refinestyle
