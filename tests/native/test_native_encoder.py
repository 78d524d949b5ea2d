"""Encoders whose trunk the native engine runs: against PyTorch, and what it refuses."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from rs_export.graphs.base_inverter import base_inverter_role
from rs_export.graphs.refiner import refiner_role
from rs_export.graphs.role import TracedRole
from rs_export.portable import finish
from rs_export.precision import store_fp16
from rs_runtime.contracts.errors import IncompatibleError, ResourceError
from rs_runtime.engines.base import Engine
from rs_runtime.engines.native_engine import NativeEncoder, Shapes, instructions
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.engines.openvino_engine import OpenVinoEngine
from rs_train.inverters.refine import Refiner, RefinerConfig
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig
from tests.native.lively import lively

SETS = ("avx512", "avx2", "baseline")
# Odd channels are padded. At 128 x 128 maps go from those that many blocks of tiles share down to
# some of a single tile, and kernels from small ones to some that no cache holds.
LARGE = (128, (16, 24, 40, 176))
SMALL = (48, (8, 5, 12, 16))  # no power of two: Winograd's tiles do not fit everywhere
TINY = (16, (8, 8, 8, 8))  # ends in one pixel


def base_inverter(size: int, channels: tuple[int, ...]) -> TracedRole:
    config = StyleTransformerConfig(
        image_size=size, num_ws=4, w_dim=channels[-1], z_dim=16, channels=channels, heads=2
    )
    return base_inverter_role(lively(StyleTransformer(config)))


def refiner(size: int, channels: tuple[int, ...]) -> TracedRole:
    config = RefinerConfig(
        image_size=size,
        conv_channels=((16, 16), (16, 12)),
        refined_layers=2,
        rank=2,
        channels=channels,
        heads=2,
    )
    return refiner_role(lively(Refiner(config)), 2 * size)


@cache
def traced(make: Callable[..., TracedRole], *sizes) -> tuple[TracedRole, bytes]:
    """A role and its graph; a trace takes seconds."""
    role = make(*sizes)
    return role, finish(role.intermediate(), role.name).SerializeToString()


def inputs_of(role: TracedRole, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for name, example in role.example.items():
        shape = (1, *example.shape[1:])
        is_picture = example.dtype == torch.uint8
        found[name] = (
            rng.integers(0, 256, shape, np.uint8)
            if is_picture
            else rng.uniform(-1.2, 1.2, shape).astype(np.float32)
        )
    return found


def open_part(engine: str, label: str, graph: bytes, shapes: Shapes) -> Engine:
    if engine == "openvino":
        return OpenVinoEngine(label, graph, engine, 1, shapes)
    return OnnxRuntimeEngine(label, graph, "cpu", 1, beside_another=True)


def opened(
    role: TracedRole,
    graph: bytes,
    *,
    engine: str = "onnxruntime",
    threads: int = 2,
    instructions: str | None = None,
) -> NativeEncoder:
    shapes = {name: (1, *tensor.shape[1:]) for name, tensor in role.example.items()}
    part = partial(open_part, engine)
    return NativeEncoder(role.name, graph, shapes, part, threads, instructions)


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> str:
    known = SETS[SETS.index(instructions()) :]
    if request.param not in known:
        pytest.skip(f"this machine has no {request.param}")
    return request.param


@pytest.fixture
def large() -> tuple[TracedRole, bytes]:
    return traced(base_inverter, *LARGE)


@pytest.fixture
def small() -> tuple[TracedRole, bytes]:
    return traced(base_inverter, *SMALL)


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) >= set(expected)
    for name, value in expected.items():
        scale = np.abs(value).max()
        assert np.abs(found[name] - value).max() <= 2e-5 * scale, name
        assert value.std() > 1e-3 * scale


@pytest.mark.parametrize(("make", "sizes"), [(base_inverter, SMALL), (refiner, TINY)])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_encoders_find_what_pytorch_finds(make, sizes, engine):
    role, graph = traced(make, *sizes)
    encoder = opened(role, graph, engine=engine)
    inputs = inputs_of(role)
    assert_equal(named(encoder.run(inputs), role), role.reference(inputs))


def test_instruction_sets_agree_with_pytorch(large, instruction_set):
    role, graph = large
    encoder = opened(role, graph, instructions=instruction_set)
    inputs = inputs_of(role)
    found = named(encoder.run(inputs), role)
    assert_equal(found, role.reference(inputs))
    again = named(encoder.run(inputs), role)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def named(outputs: dict[str, np.ndarray], role: TracedRole) -> dict[str, np.ndarray]:
    """OpenVINO calls an output of an unfinished bundle by any of its names."""
    if set(outputs) == set(role.outputs):
        return outputs
    return dict(zip(role.outputs, outputs.values(), strict=True))


def test_the_number_of_threads_changes_nothing(large):
    role, graph = large
    inputs = inputs_of(role)
    found = [opened(role, graph, threads=n).run(inputs)["w_plus"] for n in (1, 2, 5)]
    assert all(np.array_equal(found[0], own) for own in found[1:])


def test_pictures_leave_nothing_for_the_next(large):
    role, graph = large
    encoder = opened(role, graph)
    first, second = inputs_of(role, seed=1), inputs_of(role, seed=2)
    encoder.run(first)
    np.testing.assert_array_equal(
        encoder.run(second)["w_plus"], opened(role, graph).run(second)["w_plus"]
    )


def test_constants_stored_in_half_precision(small):
    role, graph = small
    halves = store_fp16(onnx.load_from_string(graph)).SerializeToString()
    inputs = inputs_of(role)
    whole = OnnxRuntimeEngine("whole", halves, "cpu", 1).run(inputs)
    assert_equal(opened(role, halves).run(inputs), whole)


def changed(graph: bytes, name: str, change) -> bytes:
    model = onnx.load_from_string(graph)
    (tensor,) = (own for own in model.graph.initializer if own.name == name)
    value = change(numpy_helper.to_array(tensor))
    if value is None:
        model.graph.initializer.remove(tensor)
    else:
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("trunk.units.3.conv1.weight", lambda v: None, "no constant 'trunk.units.3.conv1.weight'"),
        ("trunk.units.5.conv2.weight", lambda v: v[:-1], "'trunk.units.5.conv2.weight'"),
        ("trunk.units.0.norm.mean", lambda v: v[:-1], "'trunk.units.0.norm.mean'"),
        ("trunk.units.7.slope", lambda v: v[:, :-1], "'trunk.units.7.slope'"),
        ("trunk.units.9.gate.reduce", lambda v: v[..., 0], "'trunk.units.9.gate.reduce'"),
        ("trunk.units.3.projection.weight", lambda v: v[:, :-1], "'trunk.units.3.projection"),
        ("trunk.input.weight", lambda v: v[0], "'trunk.input'"),
    ],
)
def test_other_graphs_are_refused(small, name, change, message):
    role, graph = small
    with pytest.raises(IncompatibleError, match=message):
        opened(role, changed(graph, name, change))


def test_a_graph_without_the_names_is_refused(small):
    role, graph = small
    with pytest.raises(IncompatibleError, match=r"cut in two\n.*trunk.quarter"):
        opened(role, graph.replace(b"trunk.quarter", b"trunk.Quarter"))


def test_missing_instructions_are_told(small):
    role, graph = small
    with pytest.raises(ResourceError, match=r"lacks the instructions\n.*sse9"):
        opened(role, graph, instructions="sse9")
