// rs_runtime/engines/cut.py does the same to the byte. The few fields that matter here are read and
// written as what they are, protocol buffers (onnx.proto3), so that no ONNX library is needed.
#include "engines/cut.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "contracts/error.h"
#include "native/protobuf.h"

namespace refinestyle {
namespace {

using native::Field;

// Numbers of fields in onnx.proto3, by message.
constexpr unsigned kModelGraph = 7;
constexpr unsigned kNode = 1, kInitializer = 5, kInput = 11, kOutput = 12, kValueInfo = 13;
constexpr unsigned kNodeInput = 1, kNodeOutput = 2;
constexpr unsigned kTensorName = 8, kValueName = 1, kValueType = 2;
constexpr unsigned kTensorType = 1, kElementType = 1, kShape = 2, kDim = 1, kDimValue = 1;
constexpr unsigned kFloat = 1;
// Kinds of fields: a number, or bytes with their length.
constexpr unsigned kNumber = 0, kBytes = 2;
// Bytes before the content of a field with a length.
constexpr std::size_t kLongestKey = 20;

using Names = std::vector<std::string_view>;
using NameSet = std::unordered_set<std::string_view>;

struct Node {
  Names inputs, outputs;
};

Error damaged(const std::string& found) {
  return Error(Status::kIncompatible, "a graph cannot be cut in two", found, "",
               "export the bundle again with rs-export");
}

// Every field read here has a length; one of the same number that has none is of no message.
bool is(const Field& field, unsigned number) { return field.has_length && field.number == number; }

ByteView content(const Field& field) { return {field.data, field.size}; }

ByteView whole(const Field& field) {
  return {field.begin, static_cast<std::size_t>(field.end - field.begin)};
}

template <class Visit>
void each_field(ByteView message, const Visit& visit) {
  native::Message fields(message.data, message.size);
  for (Field field; fields.next(field);) visit(field);
}

// The first text of this number; "" where there is none.
std::string_view text_in(const Field& message, unsigned number) {
  native::Message fields(message.data, message.size);
  for (Field field; fields.next(field);) {
    if (is(field, number)) return content(field).text();
  }
  return "";
}

ByteView graph_of(ByteView model) {
  ByteView graph;
  int count = 0;
  each_field(model, [&](const Field& field) {
    if (!is(field, kModelGraph)) return;
    graph = content(field);
    ++count;
  });
  if (count != 1) throw damaged(std::to_string(count) + " graphs in a file");
  return graph;
}

// An empty name stands for an input or output that is left out.
Node node_of(const Field& message) {
  Node node;
  each_field(content(message), [&](const Field& field) {
    if (field.size == 0) return;
    if (is(field, kNodeInput)) node.inputs.push_back(content(field).text());
    if (is(field, kNodeOutput)) node.outputs.push_back(content(field).text());
  });
  return node;
}

// What is read of a graph before it is known what stays.
struct Parts {
  std::vector<Node> nodes;
  std::vector<Field> outputs;
};

Parts parts_of(ByteView graph) {
  Parts parts;
  each_field(graph, [&](const Field& field) {
    if (is(field, kNode)) parts.nodes.push_back(node_of(field));
    if (is(field, kOutput)) parts.outputs.push_back(field);
  });
  return parts;
}

// All values that the targets depend on, themselves and given ones included.
NameSet used_by(Names targets, const std::vector<Node>& nodes, const NameSet& given) {
  std::unordered_map<std::string_view, const Node*> makers;
  for (const Node& node : nodes) {
    for (std::string_view name : node.outputs) makers[name] = &node;
  }
  NameSet used;
  while (!targets.empty()) {
    const std::string_view name = targets.back();
    targets.pop_back();
    if (!used.insert(name).second || given.count(name) != 0) continue;
    const auto maker = makers.find(name);
    if (maker == makers.end()) continue;
    const Names& inputs = maker->second->inputs;
    targets.insert(targets.end(), inputs.begin(), inputs.end());
  }
  return used;
}

void require_made(const Shapes& values, const std::vector<Node>& nodes) {
  for (const auto& [name, shape] : values) {
    const std::string_view own = name;
    const bool made = std::any_of(nodes.begin(), nodes.end(), [&](const Node& node) {
      return std::find(node.outputs.begin(), node.outputs.end(), own) != node.outputs.end();
    });
    if (!made) throw damaged("the graph has no value '" + name + "'");
  }
}

void append(Bytes& bytes, ByteView more) {
  bytes.insert(bytes.end(), more.data, more.data + more.size);
}

void append_number(Bytes& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 0x80));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

// What comes before the content of a field with a length.
void append_key(Bytes& bytes, unsigned number, std::size_t size) {
  append_number(bytes, number << 3 | kBytes);
  append_number(bytes, size);
}

Bytes field(unsigned number, ByteView content) {
  Bytes bytes;
  append_key(bytes, number, content.size);
  append(bytes, content);
  return bytes;
}

Bytes number_field(unsigned number, std::uint64_t value) {
  Bytes bytes;
  append_number(bytes, number << 3 | kNumber);
  append_number(bytes, value);
  return bytes;
}

// A ValueInfoProto of float32, as a graph's input or output.
Bytes value_field(unsigned number, const std::string& name, const Shape& shape) {
  Bytes sides;
  for (std::int64_t side : shape) {
    append(sides, field(kDim, number_field(kDimValue, static_cast<std::uint64_t>(side))));
  }
  Bytes tensor = number_field(kElementType, kFloat);
  append(tensor, field(kShape, sides));
  Bytes value = field(kValueName, view_of(name));
  append(value, field(kValueType, field(kTensorType, tensor)));
  return field(number, value);
}

// Fields of the graph that stay, in their order, without its outputs.
std::vector<ByteView> kept(ByteView graph, const std::vector<Node>& nodes, const NameSet& used,
                           const NameSet& given) {
  std::vector<ByteView> pieces;
  auto node = nodes.begin();
  const auto stays = [&](const Field& field) {
    if (is(field, kNode)) {
      const Names& outputs = (node++)->outputs;
      return std::any_of(outputs.begin(), outputs.end(), [&](std::string_view name) {
        return used.count(name) != 0 && given.count(name) == 0;
      });
    }
    if (is(field, kInitializer)) return used.count(text_in(field, kTensorName)) != 0;
    if (is(field, kInput)) return used.count(text_in(field, kValueName)) != 0;
    return !is(field, kOutput) && !is(field, kValueInfo);
  };
  each_field(graph, [&](const Field& field) {
    if (stays(field)) pieces.push_back(whole(field));
  });
  return pieces;
}

std::size_t total(const std::vector<ByteView>& pieces) {
  std::size_t size = 0;
  for (ByteView piece : pieces) size += piece.size;
  return size;
}

// The model with these pieces as its graph.
Bytes joined(ByteView model, const std::vector<ByteView>& pieces) {
  std::vector<ByteView> others;
  each_field(model, [&](const Field& field) {
    if (!is(field, kModelGraph)) others.push_back(whole(field));
  });
  Bytes bytes;
  bytes.reserve(total(others) + total(pieces) + kLongestKey);
  for (ByteView piece : others) append(bytes, piece);
  append_key(bytes, kModelGraph, total(pieces));
  for (ByteView piece : pieces) append(bytes, piece);
  return bytes;
}

Bytes cut_out(ByteView model, const Shapes& given, const Shapes& wanted) {
  const ByteView graph = graph_of(model);
  const Parts parts = parts_of(graph);
  NameSet given_names;
  Names targets;
  std::vector<Bytes> made;
  for (const auto& [name, shape] : given) {
    given_names.insert(name);
    made.push_back(value_field(kInput, name, shape));
  }
  for (const auto& [name, shape] : wanted) {
    targets.push_back(name);
    made.push_back(value_field(kOutput, name, shape));
  }
  if (wanted.empty()) {
    for (const Field& output : parts.outputs) targets.push_back(text_in(output, kValueName));
  }
  const NameSet used = used_by(std::move(targets), parts.nodes, given_names);
  require_made(given, parts.nodes);
  require_made(wanted, parts.nodes);
  std::vector<ByteView> pieces = kept(graph, parts.nodes, used, given_names);
  if (wanted.empty()) {
    for (const Field& output : parts.outputs) pieces.push_back(whole(output));
  }
  pieces.insert(pieces.end(), made.begin(), made.end());
  return joined(model, pieces);
}

}  // namespace

Bytes cut(ByteView graph, const Shapes& given, const Shapes& wanted) {
  try {
    return cut_out(graph, given, wanted);
  } catch (const native::BadGraph& bad) {
    throw damaged(bad.found);
  }
}

}  // namespace refinestyle
