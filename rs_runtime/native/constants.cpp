#include "constants.h"

#include <cstring>
#include <utility>

namespace refinestyle::native {
namespace {

// Numbers of fields and types in onnx.proto3.
constexpr unsigned kModelGraph = 7, kGraphInitializer = 5;
constexpr unsigned kDims = 1, kDataType = 2, kName = 8, kRawData = 9;
constexpr uint64_t kFloat = 1, kFloat16 = 10;
constexpr std::size_t kMaxRank = 8;

float from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31, fraction = half & 1023;
  if (exponent == 0) {
    const float size = static_cast<float>(fraction) / (1 << 24);
    return sign ? -size : size;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  const uint32_t bits = sign | wide << 23 | fraction << 13;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::vector<float> floats(const Field& raw, bool half) {
  std::vector<float> values(raw.size / (half ? 2 : 4));
  if (!half) {
    std::memcpy(values.data(), raw.data, raw.size);
    return values;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, raw.data + 2 * i, 2);
    values[i] = from_half(bits);
  }
  return values;
}

void read_dims(const Field& field, std::vector<int64_t>& dims) {
  if (field.data == nullptr) {
    dims.push_back(static_cast<int64_t>(field.value));
  } else {
    Message packed(field.data, field.size);
    while (!packed.done() && dims.size() <= kMaxRank) {
      dims.push_back(static_cast<int64_t>(packed.varint()));
    }
  }
  if (dims.size() > kMaxRank) throw damaged("a constant of too many dimensions");
}

}  // namespace

std::string text(const std::vector<int64_t>& dims) {
  std::string list;
  for (int64_t side : dims) list += (list.empty() ? "" : ", ") + std::to_string(side);
  return "[" + list + "]";
}

bool Constants::has_any(const std::string& prefix) const {
  const auto found = by_name_.lower_bound(prefix);
  return found != by_name_.end() && found->first.compare(0, prefix.size(), prefix) == 0;
}

Constants::Constants(const uint8_t* bytes, std::size_t size) {
  Message model(bytes, size);
  Field field, inner;
  while (model.next(field)) {
    if (field.number != kModelGraph || field.data == nullptr) continue;
    Message graph(field.data, field.size);
    while (graph.next(inner)) {
      if (inner.number == kGraphInitializer && inner.data) add(inner);
    }
  }
}

void Constants::add(const Field& tensor) {
  Message message(tensor.data, tensor.size);
  Field field;
  std::string name;
  Constant constant{};
  uint64_t type = 0;
  while (message.next(field)) {
    if (field.number == kDims) read_dims(field, constant.dims);
    if (field.number == kDataType) type = field.value;
    if (field.number == kName && field.data) {
      name.assign(reinterpret_cast<const char*>(field.data), field.size);
    }
    if (field.number == kRawData && field.data) constant.raw = field;
  }
  const std::size_t size = constant.raw.size;
  if ((type != kFloat && type != kFloat16) || size == 0) return;
  constant.half = type == kFloat16;
  std::size_t count = 1;
  for (int64_t side : constant.dims) {
    if (side < 1 || static_cast<uint64_t>(side) > size / count) {
      throw damaged("a constant of another size than its shape");
    }
    count *= static_cast<std::size_t>(side);
  }
  if (count * (constant.half ? 2 : 4) != size) {
    throw damaged("a constant of another size than its shape");
  }
  const std::string ending = ".fp16";
  if (name.size() > ending.size() &&
      name.compare(name.size() - ending.size(), ending.size(), ending) == 0) {
    name.resize(name.size() - ending.size());
  }
  by_name_[name] = std::move(constant);
}

const Constants::Constant& Constants::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    throw BadGraph{"the graph has no constant '" + name + "'", "",
                   "a graph of this version of rs-export"};
  }
  return found->second;
}

const std::vector<int64_t>& Constants::dims(const std::string& name) const {
  return find(name).dims;
}

std::vector<float> Constants::take(const std::string& name,
                                   const std::vector<int64_t>& dims) const {
  const Constant& constant = find(name);
  if (constant.dims != dims) {
    throw BadGraph{"the constant '" + name + "' has another shape", text(constant.dims),
                   text(dims)};
  }
  return floats(constant.raw, constant.half);
}

}  // namespace refinestyle::native
