// The constants of an ONNX file, by name: as much of the format as they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "protobuf.h"

namespace refinestyle::native {

struct Constant {
  std::vector<int64_t> dims;
  std::vector<float> values;
};

// Shapes in messages: "[512, 512, 3, 3]".
std::string text(const std::vector<int64_t>& dims);

class Constants {
 public:
  explicit Constants(std::map<std::string, Constant> by_name) : by_name_(std::move(by_name)) {}

  bool has(const std::string& name) const { return by_name_.count(name) != 0; }
  bool has_any(const std::string& prefix) const;

  // Throw BadGraph where there is none of the name, or of another shape.
  const Constant& take(const std::string& name) const;
  const Constant& take(const std::string& name, const std::vector<int64_t>& dims) const;

 private:
  std::map<std::string, Constant> by_name_;
};

// Reads the fp32 and fp16 initializers of a model's graph, as fp32; an ending ".fp16" of a name is
// left out, as the graph casts these back. Others, and empty ones, are passed over, and so are
// those whose names begin in another way than `prefix`.
//
// Throws BadGraph for bytes that are no such file.
Constants read_constants(const uint8_t* bytes, std::size_t size, const std::string& prefix = "");

}  // namespace refinestyle::native
