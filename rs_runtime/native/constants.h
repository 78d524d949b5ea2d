// The constants of an ONNX file, by name: as much of the format as they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "protobuf.h"

namespace refinestyle::native {

// Shapes in messages: "[512, 512, 3, 3]".
std::string text(const std::vector<int64_t>& dims);

// The fp32 and fp16 initializers of a model's graph. They stay where they are until one is taken:
// all at once as fp32 would be more than what is made of them.
class Constants {
 public:
  // An ending ".fp16" of a name is left out, as the graph casts these back. Constants of other
  // types, and empty ones, are passed over. The bytes must outlive this.
  //
  // Throws BadGraph for bytes that are no such file.
  Constants(const uint8_t* bytes, std::size_t size);

  bool has(const std::string& name) const { return by_name_.count(name) != 0; }
  bool has_any(const std::string& prefix) const;

  // Both throw BadGraph where there is none of the name, the second also where it has another shape.
  const std::vector<int64_t>& dims(const std::string& name) const;
  std::vector<float> take(const std::string& name, const std::vector<int64_t>& dims) const;

 private:
  struct Constant {
    std::vector<int64_t> dims;
    Field raw;
    bool half = false;
  };

  void add(const Field& tensor);
  const Constant& find(const std::string& name) const;

  std::map<std::string, Constant> by_name_;
};

}  // namespace refinestyle::native
