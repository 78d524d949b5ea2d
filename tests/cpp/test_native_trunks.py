"""As test_native_graphs.py, for the trunks of encoders."""

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

TINY = (3, 3, 2, 4, 5)
# Layers whose kernels stay in the cache, with projections and without; and such that do not.
SMALL = (40, 40, 33, 33, 17)
WIDE = (64, 150, 170, 40, 150)
MUTANTS = 3000
INCOMPATIBLE = 5
SIDE = 16  # of the smallest picture
LAYERS = ("trunk.input.", "trunk.units.0.", "trunk.units.3.", "trunk.units.23.")


@pytest.fixture(scope="module")
def tensors() -> list[onnx.TensorProto]:
    """The constants of a tiny trunk."""
    return [native_graph.tensor(*item) for item in native_graph.trunk_constants(TINY).items()]


@pytest.mark.parametrize("channels", [TINY, SMALL, WIDE])
@pytest.mark.parametrize("side", [16, 48])
def test_trunks_have_nothing_to_report(
    sanitized_checker: Checker, tmp_path: Path, channels: tuple[int, ...], side: int
):
    """With every set of instructions of this machine, which come to the same."""
    (path,) = write_all(tmp_path, [native_graph.build_trunk(channels)])
    sets = ["baseline", "avx2", "avx512"]
    (first,) = sanitized_checker.ask([f"trunk {path} {side} baseline 1"])
    assert first["status"] == 0 and first["channels"] == [*channels[2:]]
    own = sets[: sets.index(first["fastest"]) + 1]
    requests = [f"trunk {path} {side} {name} {threads}" for name in own for threads in (1, 3)]
    for answer in sanitized_checker.ask(requests):
        assert answer["means"] == pytest.approx(first["means"], rel=1e-4)
        assert min(answer["means"]) > 0.1


def replaced(name: str, *shape: int) -> Callable[[], bytes]:
    """A file with sound bytes, in which one constant has another shape."""

    def make() -> bytes:
        own = native_graph.trunk_constants(TINY)
        own[name] = np.zeros(shape, np.float32)
        return native_graph.file_of(own)

    return make


@pytest.mark.parametrize(
    ("make", "side", "text"),
    [
        (lambda: b"", SIDE, "no constant"),
        (lambda: native_graph.build({4: 3, 8: 2}), SIDE, "no constant 'trunk.input.weight'"),
        (lambda: native_graph.build_trunk(TINY), 0, "another size"),
        (lambda: native_graph.build_trunk(TINY), -16, "another size"),
        (lambda: native_graph.build_trunk(TINY), 24, "another size"),
        (lambda: native_graph.build_trunk(TINY), 2**31 - 16, "another size"),
        (lambda: native_graph.build_trunk(TINY), 8192, "too large"),
        (replaced("trunk.input.weight", 4097, 1, 3, 3), SIDE, "too large"),
        (replaced("trunk.input.weight", 1, 4097, 3, 3), SIDE, "too large"),
        (replaced("trunk.input.weight", 3, 3, 1, 1), SIDE, "another shape"),
        (replaced("trunk.input.weight", 3, 3, 5, 5), SIDE, "another shape"),
        (replaced("trunk.units.0.conv1.weight", 4097, 1, 3, 3), SIDE, "too large"),
        (replaced("trunk.units.0.conv1.weight", 3, 2, 3, 3), SIDE, "another shape"),
        (replaced("trunk.units.0.conv2.weight", 2, 3, 3, 3), SIDE, "another shape"),
        (replaced("trunk.units.0.conv1.weight", 2, 3, 3, 3), SIDE, "another shape"),
        (replaced("trunk.units.3.projection.weight", 2, 3, 3, 3), SIDE, "another shape"),
        (replaced("trunk.units.5.gate.expand", 2, 2, 1, 1), SIDE, "another shape"),
        (replaced("trunk.units.23.norm.variance", 6), SIDE, "another shape"),
        (replaced("trunk.units.23.slope", 5), SIDE, "another shape"),
    ],
)
def test_wrong_trunks_are_refused(
    sanitized_checker: Checker, tmp_path: Path, make: Callable[[], bytes], side: int, text: str
):
    (path,) = write_all(tmp_path, [make()])
    (answer,) = sanitized_checker.ask([f"trunk {path} {side} baseline 1"])
    assert answer["status"] == INCOMPATIBLE and text in answer["message"], answer


def test_constants_that_are_missing_or_of_impossible_sizes_are_refused(
    sanitized_checker: Checker, tmp_path: Path, tensors: list[onnx.TensorProto]
):
    # Trunks without a bias are sound, too.
    chosen = [tensor for tensor in tensors if tensor.name.startswith(LAYERS)]
    needed = [own for own in chosen if ".norm." in own.name or not own.name.endswith(".bias")]
    files = [file for tensor in needed for file in impossible(tensors, tensor)]
    paths = write_all(tmp_path, files)
    answers = sanitized_checker.ask([f"trunk {path} {SIDE} baseline 1" for path in paths])
    assert len(answers) == len(files) > 500
    assert {answer["status"] for answer in answers} == {INCOMPATIBLE}


def with_other_shapes(rng: random.Random) -> bytes:
    """A sound file of any channels, in which up to three constants have other shapes."""
    own = native_graph.trunk_constants([rng.randrange(1, 12) for _ in TINY], rng.randrange(1, 5))
    for name in rng.sample(sorted(own), rng.randrange(4)):
        shape = list(own[name].shape)
        axis = rng.randrange(len(shape))
        match rng.randrange(3):
            case 0:
                shape[axis] += 1
            case 1:
                rng.shuffle(shape)
            case _:
                shape[axis] = rng.choice((1, 2, 3, 4, 8, 33, 257))
        own[name] = np.ones(shape, np.float32 if rng.random() < 0.8 else np.float16)
    return native_graph.file_of(own)


def test_mutants_are_refused_or_run(
    sanitized_checker: Checker, tmp_path: Path, tensors: list[onnx.TensorProto]
):
    rng = random.Random(20_261_129)
    sound = native_graph.model(tensors)
    ways = (
        lambda: mutate(sound, rng),
        lambda: with_wounded_constant(tensors, rng),
        lambda: with_other_shapes(rng),
    )
    mutants = [ways[number % len(ways)]() for number in range(MUTANTS)]
    paths = write_all(tmp_path, mutants)
    answers = sanitized_checker.ask([f"trunk {path} {SIDE} baseline 1" for path in paths])
    assert len(answers) == MUTANTS
    assert {answer["status"] for answer in answers} == {0, INCOMPATIBLE}
    refusals = Counter(answer["message"] for answer in answers if answer["status"])
    # Damage that goes deep as well as damage that is found at once.
    for text in ("cut off", "another size", "no constant", "another shape", "unknown kind"):
        assert sum(count for message, count in refusals.items() if text in message) > 20, text
    assert 100 < MUTANTS - refusals.total() < MUTANTS * 3 / 4
