"""The functions that stand in for the plugins: the same numbers, in one graph with them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rs_export import plugin_bodies
from rs_export.intermediate import DOMAIN
from tests.plugins.layer_case import GAIN, SLOPE, LayerCase, operands

ort = pytest.importorskip("onnxruntime")


def model(case: LayerCase, opset: int) -> onnx.ModelProto:
    """A graph of one node and the function of its name, all sizes but the ranks' open."""
    geometry = case.geometry.title()
    names = plugin_bodies.inputs(case.dense)
    attributes = {"slope": SLOPE, "gain": GAIN, "plugin_namespace": DOMAIN}
    node = helper.make_node(
        plugin_bodies.op_type(geometry, case.dense),
        names,
        ["y"],
        domain=DOMAIN,
        plugin_version=plugin_bodies.VERSION,
        **attributes,
    )
    dims = {"demodulation": 2, "bias": 1, "P": 3}
    values = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, [f"{name}{i}" for i in range(dims.get(name, 4))]
        )
        for name in (*names, "y")
    ]
    graph = helper.make_graph([node], "one", values[:-1], values[-1:])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    function = plugin_bodies.function(geometry, case.dense, opset)
    made = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("dense", [False, True], ids=["low_rank", "dense"])
@pytest.mark.parametrize("geometry", ["point", "box", "up"])
def test_function_gives_the_oracles_layer(geometry: str, dense: bool, opset: int) -> None:
    case = LayerCase(geometry, dense=dense, batch=3, inputs=8, ranks=(5, 2, 0), noise=2)
    parts = operands(case)
    feeds = {
        "base": parts.base,
        "residual": parts.residual,
        "P": parts.P,
        "demodulation": parts.demodulation,
        "noise": parts.noise[:, None],
        "bias": parts.bias,
    }
    feeds = {n: feeds[n].astype(np.float32) for n in plugin_bodies.inputs(dense)}
    session = ort.InferenceSession(model(case, opset).SerializeToString())
    (found,) = session.run(None, feeds)
    error = np.linalg.norm(found - parts.expected)
    assert error <= 1e-5 * np.linalg.norm(parts.expected)
