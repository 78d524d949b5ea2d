"""The ONNX form of a refined convolution against the NumPy oracle."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from rs_export import forms
from rs_export.forms import (
    Form,
    cpu,
    dense,
    dense_normalised,
    expand,
    low_rank,
    materialised,
    refined_convs,
)
from rs_export.intermediate import DOMAIN, INPUTS, OP_TYPE
from rs_export.portable import check_flat, finish
from rs_runtime.contracts.errors import InternalError
from rs_runtime.reference import refined_layer

CIN, COUT, SIZE = 5, 7, 6


def one_layer(weight: np.ndarray, up: int, constant: bool = True) -> onnx.ModelProto:
    """An intermediate model of a single node."""
    cout, cin = weight.shape[:2]
    shapes = {
        "x": ["N", cin, SIZE, SIZE],
        "style": ["N", cin],
        "P": ["N", "L", cout],
        "Q": ["N", "L", cin],
        "style_offset": ["N", cin],
        "modulation": ["N", cin],
    }
    if not constant:
        shapes["weight"] = list(weight.shape)
    node = helper.make_node(
        OP_TYPE, INPUTS, ["result"], domain=DOMAIN, layer="b8.conv0", up=up, size=SIZE
    )
    last = helper.make_node("Identity", ["result"], ["y"])
    inputs = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in shapes.items()
    ]
    side = up * SIZE
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", cout, side, side])
    kernel = [numpy_helper.from_array(weight, "weight")] if constant else []
    return helper.make_model(
        helper.make_graph([node, last], "layer", inputs, [output], kernel),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)],
    )


def random_inputs(batch: int, rank: int, cin: int, cout: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(100 * batch + rank)
    shapes = {
        "x": (batch, cin, SIZE, SIZE),
        "style": (batch, cin),
        "P": (batch, rank, cout),
        "Q": (batch, rank, cin),
        "style_offset": (batch, cin),
        "modulation": (batch, cin),
    }
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("kernel", "up"), [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("form", [dense, dense_normalised, low_rank, materialised])
def test_every_form_equals_the_oracle(form: Form, kernel: int, up: int, rank: int) -> None:
    weight = np.random.default_rng(1).standard_normal((COUT, CIN, kernel, kernel), np.float32)
    model = finish(expand(one_layer(weight, up), form), "layer")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch in (1,) if form is materialised else (1, 3):
        inputs = random_inputs(batch, rank, CIN, COUT)
        exact = {name: value.astype(np.float64) for name, value in inputs.items()}
        x, style = exact.pop("x"), exact.pop("style")
        expected = refined_layer(
            x, weight.astype(np.float64), style, **exact, up=up, activate=False
        )
        (found,) = session.run(None, inputs)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("up", [1, 2])
def test_the_cpu_form_builds_kernels_where_maps_are_large(up: int) -> None:
    conv = refined_convs(one_layer(np.ones((COUT, CIN, 3, 3), np.float32), up))[0]
    small = replace(conv, size=forms.CONSTANT_UP_TO)
    large = replace(conv, size=2 * small.size)
    assert cpu(small)[0] == low_rank(small)[0]
    assert cpu(large)[0] == materialised(large)[0]


@pytest.mark.parametrize("form", [dense, dense_normalised, low_rank, materialised])
def test_a_dead_kernel_gives_zeros_not_nan(form: Form) -> None:
    """s = 0 and dW = 0: only the epsilon keeps demodulation finite."""
    weight = np.ones((COUT, CIN, 3, 3), np.float32)
    inputs = random_inputs(1, 1, CIN, COUT)
    for name in ("style", "style_offset", "P"):
        inputs[name] = np.zeros_like(inputs[name])
    model = expand(one_layer(weight, 1), form)
    (found,) = onnxruntime.InferenceSession(finish(model, "layer").SerializeToString()).run(
        None, inputs
    )
    assert np.array_equal(found, np.zeros_like(found))


def test_names_inside_a_layer_start_with_the_layer() -> None:
    model = expand(one_layer(np.ones((COUT, CIN, 3, 3), np.float32), 2))
    nodes = [node for node in model.graph.node if node.op_type != "Identity"]
    assert {node.name.rsplit(".", 1)[0] for node in nodes[:-1]} == {"b8.conv0"}
    assert nodes[-1].output == ["b8.conv0"]
    constants = {tensor.name for tensor in model.graph.initializer}
    assert constants == {
        f"b8.conv0.{name}" for name in ("weight", "tap_squares", "tap_sums", "box", "fir")
    }


def test_the_intermediate_form_is_not_portable() -> None:
    model = one_layer(np.ones((COUT, CIN, 3, 3), np.float32), 1)
    with pytest.raises(InternalError, match="not portable"):
        check_flat(model)


def test_a_kernel_that_is_computed_is_refused() -> None:
    model = one_layer(np.ones((COUT, CIN, 3, 3), np.float32), 1, constant=False)
    with pytest.raises(InternalError, match=r"b8\.conv0"):
        refined_convs(model)
