// A piece of a piece is that piece; a refusal is a right answer.
#include "engines/cut.h"

#include "judge.h"

using namespace refinestyle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Shapes middle = {{"middle", {3, 4}}};
  judge([&] { cut({data, size}, middle, {}); });
  return judge([&] {
    const Bytes piece = cut({data, size}, {}, middle);
    if (cut(piece, {}, middle) != piece) __builtin_trap();
  });
}
