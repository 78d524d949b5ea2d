"""Weights stored in half precision, computed in single: half the bytes, the same speed on CPUs.

Each large constant becomes fp16 with a Cast to fp32 behind it, which engines fold away when they
load the graph.
"""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# Sums over taps make demodulation exact; small constants save nothing.
KEPT_NAMES = (".tap_squares", ".tap_sums")
MIN_ELEMENTS = 256
_LARGEST = float(np.finfo(np.float16).max)


def store_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large fp32 constants are stored as fp16 and cast back on load.

    Kept in fp32: tap sums, tensors below 256 elements, and values beyond the range of fp16.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    casts = []
    for tensor in result.graph.initializer:
        if not _is_stored_half(tensor):
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
        casts.append(
            onnx.helper.make_node(
                "Cast", [tensor.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT
            )
        )
    nodes = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend([*casts, *nodes])
    return result


def restore_fp32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose constants are fp32 instead of fp16 with a Cast behind it.

    Undoes `store_fp16` but for the rounding, for parsers that want weights to be constants.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    kept = []
    for node in result.graph.node:
        tensor = tensors.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None or tensor.name != f"{node.output[0]}.fp16":
            kept.append(node)
            continue
        wide = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(wide, node.output[0]))
    del result.graph.node[:]
    result.graph.node.extend(kept)
    return result


def has_large_constants(model: onnx.ModelProto) -> bool:
    """Whether `store_fp16` would change anything."""
    return any(_is_stored_half(tensor) for tensor in model.graph.initializer)


def _is_stored_half(tensor: TensorProto) -> bool:
    if tensor.data_type != TensorProto.FLOAT or tensor.name.endswith(KEPT_NAMES):
        return False
    values = numpy_helper.to_array(tensor)
    return values.size >= MIN_ELEMENTS and float(np.abs(values).max()) <= _LARGEST
