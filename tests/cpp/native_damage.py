"""Damage to the files that the native engine reads."""

import random
from collections.abc import Iterator

import onnx

from tests.cpp import native_graph

SIDES = (0, 1, 2, 7, -1, 4097, 2**31, 2**32 + 3, 2**62, 2**63 - 1, -(2**63))


def changed(tensors: list[onnx.TensorProto], which: str, **fields: object) -> bytes:
    """A file in which fields of one constant are others."""
    copies = []
    for tensor in tensors:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        if tensor.name == which:
            for field, value in fields.items():
                if field == "dims":
                    copy.ClearField("dims")
                    copy.dims.extend(value)
                else:
                    setattr(copy, field, value)
        copies.append(copy)
    return native_graph.model(copies)


def impossible(tensors: list[onnx.TensorProto], which: onnx.TensorProto) -> Iterator[bytes]:
    """Files in which one constant is missing, or of an impossible size."""
    name, dims = which.name, list(which.dims)
    yield changed(tensors, name, name=f"{name}\0")
    yield changed(tensors, name, data_type=onnx.TensorProto.INT64)
    yield changed(tensors, name, raw_data=which.raw_data[:-1])
    yield changed(tensors, name, raw_data=b"")
    yield changed(tensors, name, dims=[*dims, 1])
    yield changed(tensors, name, dims=[1] * 9 + dims)
    # Products that come to the right number if they overflow.
    yield changed(tensors, name, dims=[2**32, 2**32, *dims])
    yield changed(tensors, name, dims=[2**63 + 1 - 2**64, *dims])
    for axis, side in enumerate(dims):
        for other in set(SIDES) - {side}:
            yield changed(tensors, name, dims=[*dims[:axis], other, *dims[axis + 1 :]])


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damages a file in one of seven ways."""
    at, until = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    few = data[at : at + rng.randrange(1, 12)]
    match rng.randrange(7):
        case 0:  # one bit
            flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in few[:1])
            return data[:at] + flipped + data[at + 1 :]
        case 1:  # bytes of a number without an end, or a huge one
            return data[:at] + bytes([255] * rng.randrange(1, 12)) + data[at + len(few) :]
        case 2:  # any bytes
            return data[:at] + rng.randbytes(len(few)) + data[at + len(few) :]
        case 3:  # bytes less
            return data[:at] + data[at + len(few) :]
        case 4:  # a piece twice
            return data[:until] + data[at:]
        case 5:  # cut off
            return data[:at]
        case _:  # bytes more
            return data[:at] + rng.randbytes(len(few)) + data[at:]


def field(number: int, data: bytes) -> bytes:
    """A field with a length, as protobuf writes it."""
    size, written = len(data), b""
    while size > 127:
        written += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + written + bytes([size]) + data


def with_wounded_constant(tensors: list[onnx.TensorProto], rng: random.Random) -> bytes:
    """A file in which the bytes of one constant, not its values, are damaged."""
    which = rng.randrange(len(tensors))
    parts = [tensor.SerializeToString() for tensor in tensors]
    values = field(9, tensors[which].raw_data)
    head = parts[which].replace(values, b"")
    parts[which] = mutate(head, rng) + values
    return field(7, b"".join(field(5, part) for part in parts))
