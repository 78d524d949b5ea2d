"""Weights stored in half precision."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from rs_export.portable import finish
from rs_export.precision import has_large_constants, store_fp16

RNG = np.random.default_rng(0)


def product(weight: np.ndarray, name: str = "weight") -> onnx.ModelProto:
    """x [N, Cin] times a constant."""
    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", name], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", rows])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", columns])],
        [numpy_helper.from_array(weight, name)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_half_the_bytes_and_values_of_fp16_computed_in_fp32() -> None:
    weight = RNG.standard_normal((64, 64), np.float32)
    model = product(weight)
    stored = finish(store_fp16(model), "g")
    assert stored.ByteSize() < 0.6 * finish(model, "g").ByteSize()
    x = RNG.standard_normal((2, 64), np.float32)
    (y,) = onnxruntime.InferenceSession(stored.SerializeToString()).run(None, {"x": x})
    assert y.dtype == np.float32
    assert np.allclose(y, x @ weight.astype(np.float16).astype(np.float32), atol=1e-4)


def test_the_engine_folds_the_casts_away(tmp_path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    stored = finish(store_fp16(product(RNG.standard_normal((64, 64), np.float32))), "g")
    assert [node.op_type for node in stored.graph.node] == ["Cast", "MatMul"]
    onnxruntime.InferenceSession(stored.SerializeToString(), options)
    optimised = onnx.load(tmp_path / "optimised.onnx")
    assert "Cast" not in [node.op_type for node in optimised.graph.node]


def test_what_stays_in_fp32() -> None:
    small = product(np.ones((5, 5), np.float32))
    huge = product(np.full((64, 64), 1e5, np.float32))
    taps = product(np.ones((64, 64), np.float32), "b8.conv0.tap_sums")
    for model in (small, huge, taps):
        assert not has_large_constants(model)
        assert store_fp16(model).graph.initializer[0].data_type == onnx.TensorProto.FLOAT
