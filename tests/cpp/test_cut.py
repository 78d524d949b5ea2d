"""The C++ library cuts graphs as Python does, to the byte, and refuses what Python refuses.

Under the address and undefined-behaviour sanitizers.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.engines.cut import cut
from tests.cpp.checker import Checker, write_all
from tests.cpp.conftest import BUNDLE
from tests.cpp.native_damage import field, mutate
from tests.runtime.test_cut import chain

MUTANTS = 6000
INCOMPATIBLE = 5
MIDDLE, Y = {"middle": [3, 4]}, {"y": [1, 2**40]}
PICTURE = {"trunk.picture": [1, 3, 128, 128]}
# In the order of C++, whose values come by name.
TAPS = {"trunk.eighth": [1, 64, 16, 16], "trunk.quarter": [1, 32, 32, 32]}

Values = Mapping[str, list[int]]


def verdict(graph: bytes, given: Values, wanted: Values) -> bytes | IncompatibleError:
    """Python's piece or refusal."""
    try:
        return cut(graph, given, wanted)
    except IncompatibleError as error:
        return error


def same(checker: Checker, folder: Path, requests: list[tuple[bytes, Values, Values]]) -> set[int]:
    """Compares the pieces and refusals of both; the statuses of C++."""
    paths = write_all(folder, [graph for graph, _, _ in requests])
    lines = [
        f"cut {path} {json.dumps({'given': given, 'wanted': wanted})}"
        for path, (_, given, wanted) in zip(paths, requests, strict=True)
    ]
    answers = checker.ask(lines)
    assert len(answers) == len(requests)
    for path, answer, request in zip(paths, answers, requests, strict=True):
        expected = verdict(*request)
        piece = path.with_name(f"{path.name}.cut")
        if isinstance(expected, bytes):
            assert answer["status"] == 0, (path, answer)
            assert piece.read_bytes() == expected, path
        else:
            assert answer["status"] == INCOMPATIBLE, (path, expected)
            assert expected.what in answer["message"]
            assert not piece.exists()
    return {answer["status"] for answer in answers}


@pytest.mark.parametrize("weights", [4, 70])
def test_pieces_are_the_same(sanitized_checker: Checker, tmp_path: Path, weights: int):
    graph = chain(weights)
    values = [({}, MIDDLE), (MIDDLE, Y), (MIDDLE, {}), ({}, {}), ({}, {"side": [], **Y})]
    requests = [(graph, given, wanted) for given, wanted in values]
    assert same(sanitized_checker, tmp_path, requests) == {0}


def test_the_same_is_refused(sanitized_checker: Checker, tmp_path: Path):
    graph = chain()
    requests = [
        (b"", {}, {}),
        (graph + graph, MIDDLE, {}),
        (graph, {"nothing": [1]}, {}),
        (graph, {}, {"x": [3, 4]}),
        (graph, {}, {"": []}),
        # A graph, a node and a name of another kind than they must be.
        (b"\x38\x01", {}, {}),
        (field(7, b"\x08\x01"), {}, {"y": []}),
        (field(7, field(1, b"\x10\x79")), {}, {"y": []}),
        (field(7, field(1, field(2, b"y") + b"\xff" * 9 + b"\x7f")), {}, {"y": []}),
    ]
    assert same(sanitized_checker, tmp_path, requests) == {INCOMPATIBLE}


def test_names_that_are_left_out_join_nothing(sanitized_checker: Checker, tmp_path: Path):
    model = onnx.load_from_string(chain())
    for made in (model.graph.node[0], model.graph.node[4]):
        made.output.append("")
    model.graph.node[3].input.append("")
    graph = model.SerializeToString()
    assert same(sanitized_checker, tmp_path, [(graph, MIDDLE, Y)]) == {0}
    piece = onnx.load_from_string(cut(graph, MIDDLE, Y)).graph
    assert [node.op_type for node in piece.node] == ["MatMul"]


def test_names_that_are_no_text_are_told_apart(sanitized_checker: Checker, tmp_path: Path):
    node = field(1, field(1, b"\xff") + field(2, b"y"))
    constants = b"".join(field(5, field(8, name)) for name in (b"\xff", b"\xfe"))
    graph = field(7, node + constants)
    assert same(sanitized_checker, tmp_path, [(graph, {}, {"y": []})]) == {0}
    piece = cut(graph, {}, {"y": []})
    assert b"\xff" in piece and b"\xfe" not in piece


@pytest.mark.parametrize("role", ["base_inverter", "refiner", "synthesis"])
def test_graphs_of_the_demo_bundle(sanitized_checker: Checker, tmp_path: Path, role: str):
    """Where they have no such value, too."""
    graph = (BUNDLE / "graphs" / f"{role}.onnx").read_bytes()
    requests = [(graph, {}, PICTURE), (graph, TAPS, {}), (graph, {}, {})]
    assert 0 in same(sanitized_checker, tmp_path, requests)


def test_mutants(sanitized_checker: Checker, tmp_path: Path):
    rng = random.Random(20_261_129)
    sound = chain()
    values = [({}, MIDDLE), (MIDDLE, Y), (MIDDLE, {})]
    requests = []
    for number in range(MUTANTS):
        mutant = mutate(sound, rng)
        if number % 2:
            mutant = mutate(mutant, rng)
        requests.append((mutant, *values[number % 3]))
    assert same(sanitized_checker, tmp_path, requests) == {0, INCOMPATIBLE}
