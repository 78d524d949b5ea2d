// Protocol buffers, which ONNX files are made of, field by field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace refinestyle::native {

// What a file must be and is not: the graph is not one of ours.
struct BadGraph {
  std::string what, found, expected;
};

inline BadGraph damaged(const char* what) {
  return {"the graph cannot be read", what, "an ONNX file"};
}

struct Field {
  uint64_t number;
  uint64_t value;       // of a varint
  const uint8_t* data;  // of what has a length or a fixed size; else null
  std::size_t size;
  bool has_length;             // bytes, a text or a message
  const uint8_t *begin, *end;  // of the whole field, its key included
};

// Goes through the fields of one message.
class Message {
 public:
  Message(const uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  // Throws BadGraph for bytes that are no field.
  bool next(Field& field) {
    if (at_ == end_) return false;
    const uint8_t* begin = at_;
    const uint64_t key = varint();
    const unsigned kind = key & 7;
    field = {key >> 3, 0, nullptr, 0, kind == 2, begin, nullptr};
    switch (kind) {
      case 0: field.value = varint(); break;
      case 1: take(field, 8); break;
      case 2: take(field, varint()); break;
      case 5: take(field, 4); break;
      default: throw damaged("a field of an unknown kind");
    }
    field.end = at_;
    return true;
  }

  // Throws BadGraph where there is no number of 64 bits.
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) throw damaged("a number that is cut off");
      const uint8_t byte = *at_++;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      const bool fits = shift < 63 || byte < 2;
      if (byte < 0x80 && fits) return value;
    }
    throw damaged("a number that is too long");
  }

  bool done() const { return at_ == end_; }

 private:
  void take(Field& field, uint64_t size) {
    if (size > static_cast<uint64_t>(end_ - at_)) throw damaged("a field that is cut off");
    field.data = at_;
    field.size = static_cast<std::size_t>(size);
    at_ += size;
  }

  const uint8_t *at_, *end_;
};

}  // namespace refinestyle::native
