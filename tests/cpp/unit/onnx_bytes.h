// ONNX files by hand, of as much as the native engine reads.
#pragma once

#include <string>
#include <vector>

#include "contracts/bytes.h"
#include "engines/tensor.h"

// A field with a length, as protobuf writes it.
inline std::string field(int number, const std::string& data) {
  std::string written(1, static_cast<char>(number << 3 | 2));
  std::size_t size = data.size();
  for (; size > 127; size >>= 7) written += static_cast<char>((size & 127) | 128);
  return written + static_cast<char>(size) + data;
}

// A graph's initializer, all its values alike.
inline std::string constant(const std::string& name, const refinestyle::Shape& shape, float value) {
  std::string dims, values;
  for (std::int64_t side : shape) dims += static_cast<char>(side);
  for (std::size_t i = refinestyle::element_count(shape); i > 0; --i) {
    values.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return field(5, field(1, dims) + std::string("\x10\x01") + field(8, name) + field(9, values));
}

inline std::string node(const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs) {
  std::string message;
  for (const std::string& name : inputs) message += field(1, name);
  for (const std::string& name : outputs) message += field(2, name);
  return field(1, message);
}

// A file with this graph.
inline refinestyle::Bytes model(const std::string& graph) {
  const std::string written = field(7, graph);
  return refinestyle::Bytes(written.begin(), written.end());
}
