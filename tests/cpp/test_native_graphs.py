"""The native engine draws without a stray access, and refuses every damaged synthesis graph.

All under the address and undefined-behaviour sanitizers, through the functions that Python calls.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cpp import native_graph
from tests.cpp.checker import Checker, write_all

TINY = {4: 3, 8: 2}
# Winograd's and direct layers, whose kernels stay in the cache; and such that do not.
SMALL = {4: 40, 8: 33, 16: 9, 32: 5, 64: 3, 128: 3}
WIDE = {4: 290, 8: 280, 16: 160, 32: 170, 64: 150}
MUTANTS = 6000
INCOMPATIBLE = 5
SIDES = (0, 1, 2, 7, -1, 4097, 2**31, 2**32 + 3, 2**62, 2**63 - 1, -(2**63))


@pytest.fixture(scope="module")
def tensors() -> list[onnx.TensorProto]:
    """The constants of a tiny network."""
    return [native_graph.tensor(*item) for item in native_graph.constants(TINY).items()]


@pytest.mark.parametrize("channels", [TINY, SMALL, WIDE])
def test_drawing_has_nothing_to_report(sanitized_checker: Checker, tmp_path: Path, channels):
    """With every set of instructions of this machine, which come to the same."""
    (path,) = write_all(tmp_path, [native_graph.build(channels)])
    sets = ["baseline", "avx2", "avx512"]
    (first,) = sanitized_checker.ask([f"native {path} baseline 1"])
    assert first["status"] == 0 and first["size"] == max(channels)
    own = sets[: sets.index(first["fastest"]) + 1]
    requests = [f"native {path} {name} {threads}" for name in own for threads in (1, 3)]
    for answer in sanitized_checker.ask(requests):
        assert answer["mean"] == pytest.approx(first["mean"], rel=1e-4) and answer["mean"] > 0.1


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


def replaced(name: str, *shape: int) -> Callable[[], bytes]:
    """A file with sound bytes, in which one constant has another shape."""

    def make() -> bytes:
        own = native_graph.constants(TINY)
        own[name] = np.zeros(shape, np.float32)
        return native_graph.model([native_graph.tensor(*item) for item in own.items()])

    return make


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: b"", "no constant"),
        (lambda: native_graph.model([]), "no constant"),
        (replaced("const", 4097, 4, 4), "this size"),
        (replaced("const", 3, 4, 5), "another shape"),
        (replaced("const", 2, 4, 4), "number of channels"),
        (replaced("b4.conv1.affine.weight", 3, 6), "this size"),
        (replaced("b4.conv1.affine.weight", 3, 8192), "this size"),
        (replaced("b4.conv1.weight", 1, 4097, 3, 3), "too large"),
        (replaced("b4.conv1.weight", 4097, 1, 3, 3), "too large"),
        (replaced("b8.conv0.weight", 3, 7, 3, 3), "another shape"),
        (replaced("b8.conv0.weight", 7, 2, 3, 3), "another shape"),
        (replaced("b8.conv1.noise", 8, 9), "another shape"),
        (replaced("b8.torgb.weight", 3, 3, 1, 1), "another shape"),
        (replaced("b8.torgb.bias", 4, 1, 1), "another shape"),
    ],
)
def test_wrong_networks_are_refused(
    sanitized_checker: Checker, tmp_path: Path, make: Callable[[], bytes], text: str
):
    (path,) = write_all(tmp_path, [make()])
    (answer,) = sanitized_checker.ask([f"native {path} baseline 1"])
    assert answer["status"] == INCOMPATIBLE and text in answer["message"], answer


def test_channels_that_do_not_follow_each_other_are_refused(sanitized_checker, tmp_path: Path):
    """Each layer fits itself, but not the one before."""
    own = native_graph.constants({4: 3, 8: 2, 16: 2})
    other = native_graph.constants({4: 3, 8: 5, 16: 2})
    own |= {name: value for name, value in other.items() if name.startswith("b16.")}
    data = native_graph.model([native_graph.tensor(*item) for item in own.items()])
    (path,) = write_all(tmp_path, [data])
    (answer,) = sanitized_checker.ask([f"native {path} baseline 1"])
    assert answer["status"] == INCOMPATIBLE and "number of channels" in answer["message"]


def test_constants_that_are_missing_or_of_impossible_sizes_are_refused(
    sanitized_checker: Checker, tmp_path: Path, tensors: list[onnx.TensorProto]
):
    files = []
    for tensor in tensors:
        name, dims = tensor.name, list(tensor.dims)
        files.append(changed(tensors, name, name=f"{name}\0"))
        files.append(changed(tensors, name, data_type=onnx.TensorProto.INT64))
        files.append(changed(tensors, name, raw_data=tensor.raw_data[:-1]))
        files.append(changed(tensors, name, raw_data=b""))
        files.append(changed(tensors, name, dims=[*dims, 1]))
        files.append(changed(tensors, name, dims=[1] * 9 + dims))
        # Products that come to the right number if they overflow.
        files.append(changed(tensors, name, dims=[2**32, 2**32, *dims]))
        files.append(changed(tensors, name, dims=[2**63 + 1 - 2**64, *dims]))
        for axis, side in enumerate(dims):
            for other in set(SIDES) - {side}:
                sides = [*dims[:axis], other, *dims[axis + 1 :]]
                files.append(changed(tensors, name, dims=sides))
    paths = write_all(tmp_path, files)
    answers = sanitized_checker.ask([f"native {path} baseline 1" for path in paths])
    assert len(answers) == len(files) > 500
    assert {answer["status"] for answer in answers} == {INCOMPATIBLE}


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


def with_other_shapes(rng: random.Random) -> bytes:
    """A sound file of any channels, in which up to three constants have other shapes."""
    own = native_graph.constants({4: rng.randrange(1, 40), 8: rng.randrange(1, 5)})
    for name in rng.sample(sorted(own), rng.randrange(4)):
        shape = list(own[name].shape)
        axis = rng.randrange(len(shape))
        match rng.randrange(4):
            case 0:
                shape[axis] += 1
            case 1:
                rng.shuffle(shape)
            case 2:
                shape[axis] = rng.choice((1, 2, 3, 4, 8, 33, 257))
            case _:
                shape.insert(axis, 1)
        own[name] = np.ones(shape, np.float32 if rng.random() < 0.8 else np.float16)
    return native_graph.model([native_graph.tensor(*item) for item in own.items()])


def test_mutants_are_refused_or_drawn(
    sanitized_checker: Checker, tmp_path: Path, tensors: list[onnx.TensorProto]
):
    rng = random.Random(20_261_130)
    sound = native_graph.model(tensors)
    ways = (
        lambda: mutate(sound, rng),
        lambda: mutate(mutate(sound, rng), rng),
        lambda: with_wounded_constant(tensors, rng),
        lambda: with_other_shapes(rng),
    )
    mutants = [ways[number % len(ways)]() for number in range(MUTANTS)]
    paths = write_all(tmp_path, mutants)
    answers = sanitized_checker.ask([f"native {path} baseline 1" for path in paths])
    assert len(answers) == MUTANTS
    assert {answer["status"] for answer in answers} == {0, INCOMPATIBLE}
    refusals = Counter(answer["message"] for answer in answers if answer["status"])
    # Damage that goes deep as well as damage that is found at once.
    for text in ("cut off", "another size", "no constant", "another shape", "unknown kind"):
        assert sum(count for message, count in refusals.items() if text in message) > 20, text
    assert 100 < MUTANTS - refusals.total() < MUTANTS / 2
