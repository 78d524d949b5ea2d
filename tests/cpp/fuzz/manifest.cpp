#include "contracts/manifest.h"

#include "contracts/bytes.h"
#include "judge.h"

using namespace refinestyle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return judge([&] { Manifest::from_json(ByteView(data, size).text(), "manifest"); });
}
