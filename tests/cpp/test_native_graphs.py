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
from tests.cpp.native_damage import impossible, mutate, with_wounded_constant

TINY = {4: 3, 8: 2}
# Winograd's and direct layers, whose kernels stay in the cache; and such that do not.
SMALL = {4: 40, 8: 33, 16: 9, 32: 5, 64: 3, 128: 3}
WIDE = {4: 290, 8: 280, 16: 160, 32: 170, 64: 150}
MUTANTS = 6000
INCOMPATIBLE = 5


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


def replaced(name: str, *shape: int) -> Callable[[], bytes]:
    """A file with sound bytes, in which one constant has another shape."""

    def make() -> bytes:
        own = native_graph.constants(TINY)
        own[name] = np.zeros(shape, np.float32)
        return native_graph.file_of(own)

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
    data = native_graph.file_of(own)
    (path,) = write_all(tmp_path, [data])
    (answer,) = sanitized_checker.ask([f"native {path} baseline 1"])
    assert answer["status"] == INCOMPATIBLE and "number of channels" in answer["message"]


def test_constants_that_are_missing_or_of_impossible_sizes_are_refused(
    sanitized_checker: Checker, tmp_path: Path, tensors: list[onnx.TensorProto]
):
    files = [file for tensor in tensors for file in impossible(tensors, tensor)]
    paths = write_all(tmp_path, files)
    answers = sanitized_checker.ask([f"native {path} baseline 1" for path in paths])
    assert len(answers) == len(files) > 500
    assert {answer["status"] for answer in answers} == {INCOMPATIBLE}


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
    return native_graph.file_of(own)


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
