"""Cuts a piece out of an ONNX graph: from values that are given to values that are wanted.

What the native engine computes of a graph is left out, and the engine beside it gets the rest. No
package of the runtime can write ONNX files, so the few fields that matter here are read and written
as what they are, protocol buffers (onnx.proto3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rs_runtime.contracts.errors import IncompatibleError

# Numbers of fields in onnx.proto3, by message.
_MODEL_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_TENSOR_NAME, _VALUE_NAME, _VALUE_TYPE = 8, 1, 2
_TENSOR_TYPE, _ELEMENT_TYPE, _SHAPE, _DIM, _DIM_VALUE = 1, 1, 2, 1, 1
_FLOAT = 1
# Kinds of fields: a number, or bytes with their length; the others are of a fixed size.
_NUMBER, _BYTES = 0, 2
_FIXED_SIZES = {1: 8, 5: 4}

Shapes = Mapping[str, Sequence[int]]


class _Field(NamedTuple):
    number: int  # 0 of what has no length: every field that is read here has one
    whole: memoryview  # key and length included
    content: memoryview


class _Node(NamedTuple):
    inputs: list[str]
    outputs: list[str]


def cut(graph: bytes, given: Shapes, wanted: Shapes) -> bytes:
    """The part of a graph that computes some values from others.

    Args:
        graph: A flat model.
        given: Values that become inputs, float32, by name; what only they depend on is left out.
            Inputs of the graph that are still read stay.
        wanted: Values that become its only outputs, float32; {} keeps the graph's own.

    Returns:
        A model.

    Raises:
        IncompatibleError: It is no model, or has no such values.
    """
    model = list(_fields(memoryview(graph)))
    bodies = [field for field in model if field.number == _MODEL_GRAPH]
    if len(bodies) != 1:
        raise _damaged(f"{len(bodies)} graphs in a file")
    parts = list(_fields(bodies[0].content))
    nodes = [_node(field) for field in parts if field.number == _NODE]
    kept_outputs = [] if wanted else [field for field in parts if field.number == _OUTPUT]
    targets = [*wanted, *(_name(field, _VALUE_NAME) for field in kept_outputs)]
    used = _used(nodes, targets, given)
    made = {name for node in nodes for name in node.outputs}
    for name in (*given, *wanted):
        if name not in made:
            raise _damaged(f"the graph has no value {name!r}")

    pieces = []
    in_order = iter(nodes)
    for field in parts:
        if field.number == _NODE:
            keep = any(name in used and name not in given for name in next(in_order).outputs)
        elif field.number in (_INITIALIZER, _INPUT):
            ending = _TENSOR_NAME if field.number == _INITIALIZER else _VALUE_NAME
            keep = _name(field, ending) in used
        else:
            keep = field.number not in (_OUTPUT, _VALUE_INFO)
        if keep:
            pieces.append(field.whole)
    pieces += [field.whole for field in kept_outputs]
    pieces += [_bytes(_INPUT, _value(name, shape)) for name, shape in given.items()]
    pieces += [_bytes(_OUTPUT, _value(name, shape)) for name, shape in wanted.items()]
    others = [field.whole for field in model if field.number != _MODEL_GRAPH]
    return b"".join([*others, _bytes(_MODEL_GRAPH, b"".join(pieces))])


def _used(nodes: Sequence[_Node], targets: Sequence[str], given: Shapes) -> set[str]:
    """All values that the targets depend on, themselves and given ones included."""
    maker = {name: node for node in nodes for name in node.outputs}
    used: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name in used:
            continue
        used.add(name)
        if name in maker and name not in given:
            waiting += maker[name].inputs
    return used


def _node(field: _Field) -> _Node:
    inputs, outputs = [], []
    for part in _fields(field.content):
        if not part.content:
            continue  # an empty name stands for what is left out
        if part.number == _NODE_INPUT:
            inputs.append(_text(part))
        elif part.number == _NODE_OUTPUT:
            outputs.append(_text(part))
    return _Node(inputs, outputs)


def _name(message: _Field, number: int) -> str:
    for field in _fields(message.content):
        if field.number == number:
            return _text(field)
    return ""


def _text(field: _Field) -> str:
    return bytes(field.content).decode(errors="surrogateescape")


def _fields(message: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _NUMBER:
            size, (_, end) = 0, _varint(message, at)
            size = end - at
        elif kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise _damaged("a field of an unknown kind")
        if at + size > len(message):
            raise _damaged("a field that is cut off")
        number = key >> 3 if kind == _BYTES else 0
        yield _Field(number, message[begin : at + size], message[at : at + size])
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, and where the next byte is."""
    value = shift = 0
    while shift < 64:
        if at >= len(message):
            raise _damaged("a number that is cut off")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80 and value < 1 << 64:
            return value, at
    raise _damaged("a number that is too long")


def _value(name: str, shape: Sequence[int]) -> bytes:
    """A ValueInfoProto of float32."""
    sides = b"".join(_bytes(_DIM, _number(_DIM_VALUE, side)) for side in shape)
    tensor = _number(_ELEMENT_TYPE, _FLOAT) + _bytes(_SHAPE, sides)
    kind = _bytes(_VALUE_TYPE, _bytes(_TENSOR_TYPE, tensor))
    return _bytes(_VALUE_NAME, name.encode()) + kind


def _bytes(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _encoded(number << 3 | _NUMBER) + _encoded(value)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _damaged(found: str) -> IncompatibleError:
    return IncompatibleError(
        "a graph cannot be cut in two", found=found, hint="export the bundle again with rs-export"
    )
