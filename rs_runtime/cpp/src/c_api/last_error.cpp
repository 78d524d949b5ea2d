#include "c_api/last_error.h"

#include <cstring>

namespace refinestyle {
namespace {

// Of a fixed size, so that a failure to allocate can be told, too.
constexpr std::size_t kCapacity = 4096;
thread_local char text_of_thread[kCapacity] = "";

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

}  // namespace

const char* last_error() noexcept { return text_of_thread; }

refinestyle_status failed(Status status, const char* text) noexcept {
  std::size_t size = std::strlen(text);
  if (size >= kCapacity) {
    size = kCapacity - 1;
    while (continues_character(text[size])) --size;
  }
  std::memcpy(text_of_thread, text, size);
  text_of_thread[size] = '\0';
  return static_cast<refinestyle_status>(status);
}

}  // namespace refinestyle
