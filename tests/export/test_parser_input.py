"""What TensorRT's parser is given: plugins or functions, and weights that are constants."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from rs_export.parity import run_graph
from rs_export.parser_input import parser_input
from rs_export.plugin_bodies import function
from rs_export.precision import store_fp16

TEXT = """
<ir_version: 9, opset_import: ["": 18, "rs": 1]>
synthesis (float[N, 16, 4, 4] x, float[N, 16] d, float[1, 1, 4, 4] noise, float[16] bias) => (y)
{
    base = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, weight)
    y = rs.RefineEpilogueBoxDense<slope = 0.2, gain = 1.5, plugin_namespace = "rs",
        plugin_version = "1">(base, x, d, noise, bias)
}
"""


@pytest.fixture
def stored() -> onnx.ModelProto:
    """One layer, its weight stored in fp16 with a Cast behind it."""
    model = parser.parse_model(TEXT.replace("=> (y)", "=> (float[N, 16, 4, 4] y)"))
    weight = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    model.functions.append(function("Box", dense=True, opset=18))
    return store_fp16(model)


@pytest.mark.parametrize("plugins", [True, False], ids=["plugins", "functions"])
def test_one_of_the_two_is_left(stored: onnx.ModelProto, plugins: bool) -> None:
    assert [tensor.name for tensor in stored.graph.initializer] == ["weight.fp16"]
    given = onnx.load_from_string(parser_input(stored.SerializeToString(), plugins=plugins))
    own = [node.op_type for node in given.graph.node if node.domain]
    assert own == (["RefineEpilogueBoxDense"] if plugins else [])
    assert not given.functions
    (weight,) = given.graph.initializer
    assert (weight.name, weight.data_type) == ("weight", onnx.TensorProto.FLOAT)


def test_functions_compute_the_same(stored: onnx.ModelProto) -> None:
    rng = np.random.default_rng(1)
    shapes = {"x": (2, 16, 4, 4), "d": (2, 16), "noise": (1, 1, 4, 4), "bias": (16,)}
    inputs = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    before = run_graph("layer", stored.SerializeToString(), inputs)["y"]
    given = parser_input(stored.SerializeToString(), plugins=False)
    np.testing.assert_allclose(run_graph("layer", given, inputs)["y"], before, rtol=0, atol=1e-5)
