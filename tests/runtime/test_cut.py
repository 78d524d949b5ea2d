"""Cutting a piece out of an ONNX graph, against what the onnx package makes of it."""

import contextlib

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given as given_examples
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.engines.cut import cut


def chain(weights: int = 4) -> bytes:
    """y = relu(x w1 + z) w2, with a constant of many bytes, so that lengths take several."""
    rng = np.random.default_rng(0)
    constants = {name: rng.standard_normal((weights, weights), np.float32) for name in ("w1", "w2")}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["product"]),
        helper.make_node("Add", ["product", "z"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["middle"], name="ünïcode"),
        helper.make_node("MatMul", ["middle", "w2"], ["y"]),
        helper.make_node("Neg", ["product"], ["side"]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", weights])
        for name in ("x", "z", "y", "side", "middle")
    }
    graph = helper.make_graph(
        nodes,
        "chain",
        [values["x"], values["z"]],
        [values["y"], values["side"]],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[values["middle"]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def run(graph: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnx.checker.check_model(onnx.load_from_string(graph))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert {spec.name for spec in session.get_inputs()} == set(feeds)
    names = [spec.name for spec in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.mark.parametrize("weights", [4, 70])
def test_two_pieces_do_what_the_whole_does(weights):
    graph = chain(weights)
    rng = np.random.default_rng(1)
    x, z = rng.standard_normal((2, 3, weights), np.float32)
    shape = (3, weights)
    before = cut(graph, {}, {"middle": shape})
    middle = run(before, {"x": x, "z": z})
    assert set(middle) == {"middle"}
    after = cut(graph, {"middle": shape}, {"y": shape})
    whole = run(graph, {"x": x, "z": z})
    np.testing.assert_array_equal(run(after, middle)["y"], whole["y"])
    names = [tensor.name for tensor in onnx.load_from_string(after).graph.initializer]
    assert names == ["w2"]


def test_without_wanted_values_the_outputs_stay_and_so_do_the_inputs_that_they_read():
    graph = chain()
    rng = np.random.default_rng(1)
    x, middle = rng.standard_normal((2, 3, 4), np.float32)
    after = cut(graph, {"middle": (3, 4)}, {})
    z = np.zeros_like(x)
    found = run(after, {"x": x, "middle": middle})
    np.testing.assert_array_equal(found["side"], run(graph, {"x": x, "z": z})["side"])
    assert list(found) == ["y", "side"]


@pytest.mark.parametrize(("given", "wanted"), [({"nothing": (1,)}, {}), ({}, {"x": (3, 4)})])
def test_values_that_no_node_makes_are_refused(given, wanted):
    with pytest.raises(IncompatibleError, match="no value"):
        cut(chain(), given, wanted)


def test_bytes_without_a_graph_are_refused():
    with pytest.raises(IncompatibleError, match="cut in two"):
        cut(b"", {}, {})


@given_examples(st.data())
def test_damaged_bytes_raise_nothing_else(data):
    graph = bytearray(chain())
    for _ in range(data.draw(st.integers(1, 3))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    cropped = bytes(graph[: data.draw(st.integers(0, len(graph)))])
    with contextlib.suppress(IncompatibleError):
        cut(cropped, {"middle": (3, 4)}, {"y": (3, 4)})
