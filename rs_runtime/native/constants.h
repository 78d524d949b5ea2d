// The constants of an ONNX file, by name: as much of the format as they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace refinestyle::native {

struct Constant {
  std::vector<int64_t> dims;
  std::vector<float> values;
};

// What a file must be and is not: the graph is not one of ours.
struct BadGraph {
  std::string what, found, expected;
};

// Reads the fp32 and fp16 initializers of a model's graph, as fp32; an ending ".fp16" of a name is
// left out, as the graph casts these back. Others, and empty ones, are passed over.
//
// Throws BadGraph for bytes that are no such file.
std::map<std::string, Constant> read_constants(const uint8_t* bytes, std::size_t size);

}  // namespace refinestyle::native
