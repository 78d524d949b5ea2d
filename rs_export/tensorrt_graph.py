"""The graph that TensorRT builds: refined layers whose inner operator is a plugin node.

    base      = conv(s m x, W0)                  the library's own convolution, constant weights
    residual  = dW m x, or Q m x                 one matrix product
    y         = rs::RefineEpilogue…(base, residual, P, d, noise, bias)      all the rest

all of it with the factors scaled for fp16 (`forms.NORMALISED`). The node carries box filter and
transposition of the residual, blur, demodulation, noise, bias and activation. It is a plugin where
`plugins/refined_conv` is registered, and elsewhere the function of its name in the same file.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from rs_export import plugin_bodies
from rs_export.forms import (
    DEMODULATION,
    NORMALISED,
    RefinedConv,
    constants_normalised,
    expand,
    function,
    refined_convs,
)
from rs_export.plugin_bodies import DOMAIN
from rs_export.portable import drop_unread
from rs_runtime.contracts.errors import InternalError

_SHARED = """
    maps = Constant<value_ints = [2, 3]>()
    gain_map = Unsqueeze(gain_unit, maps)
    x_modulated = Mul(x, gain_map)
    base = {convolution}(x_modulated, weight)

    flat = Constant<value_ints = [0, {cin}, {pixels}]>()
    x_flat = Reshape(x, flat)
    residual_flat = MatMul(matrix, x_flat)
    square = Constant<value_ints = [0, -1, {size}, {size}]>()
    residual = Reshape(residual_flat, square)
"""
_DENSE = """
    matrix = Mul(dW_unit, m_row)
"""
_LOW_RANK = """
    Q_modulated = Mul(Q, m_row)
    gain_scale_row = Unsqueeze(gain_scale, one)
    matrix = Div(Q_modulated, gain_scale_row)
    P_unit = Div(P, weight_scale)
"""


@dataclass(frozen=True)
class Epilogue:
    """What follows a refined convolution.

    Attributes:
        noise: Times its strength, [1, 1, H, W].
        bias: [Cout].
        slope: Of the leaky ReLU.
        gain: After it.
    """

    noise: np.ndarray
    bias: np.ndarray
    slope: float
    gain: float


def plugin_graph(intermediate: onnx.ModelProto, rank: int) -> onnx.ModelProto:
    """Return a copy of a synthesis in which every refined layer ends in a plugin node.

    Args:
        intermediate: The synthesis in the intermediate form.
        rank: Tokens L of a usual call. Layers with more channels than that keep P and Q apart,
            the others form dW = P^T Q; every rank gives the right result in either.

    Returns:
        fp32, with the functions of the nodes.

    Raises:
        InternalError: Not noise, bias, leaky ReLU and gain behind a refined convolution, or one
            that the plugin does not know.
    """
    model, epilogues = _take_epilogues(intermediate)

    def form(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
        dense = rank >= conv.weight.shape[0]
        return _layer(conv, epilogues[conv.layer], dense)

    result = expand(model, form)
    opset = next(o.version for o in result.opset_import if not o.domain)
    used = {node.op_type for node in result.graph.node if node.domain == DOMAIN}
    result.functions.extend(
        plugin_bodies.function(geometry, dense, opset)
        for geometry in plugin_bodies.GEOMETRIES
        for dense in (False, True)
        if plugin_bodies.op_type(geometry, dense) in used
    )
    result.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return result


def _layer(conv: RefinedConv, epilogue: Epilogue, dense: bool) -> tuple[str, dict[str, np.ndarray]]:
    k = conv.weight.shape[2]
    if (conv.up, k) not in ((1, 1), (1, 3), (2, 3)):
        raise InternalError(f"{conv.layer}: no plugin for a kernel of {k} in an up layer")
    geometry = "Up" if conv.up == 2 else "Box" if k == 3 else "Point"
    operator = f"{DOMAIN}.{plugin_bodies.op_type(geometry, dense)}"
    attributes = (
        f"slope = {epilogue.slope!r}, gain = {epilogue.gain!r}, "
        f'plugin_namespace = "{DOMAIN}", plugin_version = "{plugin_bodies.VERSION}"'
    )
    of_layer = {"P": "P_unit", "demodulation": "d_scaled"}
    inputs = ", ".join(of_layer.get(name, name) for name in plugin_bodies.inputs(dense))
    body = DEMODULATION + NORMALISED + (_DENSE if dense else _LOW_RANK) + _SHARED
    text = function(conv, f"{body}\n    y = {operator} <{attributes}> ({inputs})\n")
    own = {"noise": epilogue.noise, "bias": epilogue.bias}
    return text, constants_normalised(conv) | own


def _take_epilogues(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Epilogue]]:
    """Return a copy whose refined convolutions give what their epilogues gave, and those."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    epilogues: dict[str, Epilogue] = {}
    taken: set[str] = set()
    for conv in refined_convs(model):
        nodes = _chain(result.graph, conv.values["y"])
        epilogues[conv.layer] = _epilogue(conv, nodes, constants)
        refined = next(n for n in result.graph.node if n.output[0] == conv.values["y"])
        refined.output[0] = nodes[-1].output[0]
        taken |= {node.name for node in nodes}
    kept = [node for node in result.graph.node if node.name not in taken]
    del result.graph.node[:]
    result.graph.node.extend(kept)
    drop_unread(result.graph)
    return result, epilogues


def _chain(graph: onnx.GraphProto, value: str) -> list[onnx.NodeProto]:
    """The nodes from a value's only reader on, as long as each has one; up to a product."""
    chain: list[onnx.NodeProto] = []
    while not chain or chain[-1].op_type != "Mul":
        readers = [node for node in graph.node if value in node.input]
        if len(readers) != 1:
            break
        chain += readers
        value = readers[0].output[0]
    return chain


def _epilogue(
    conv: RefinedConv, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]
) -> Epilogue:
    """Read what the nodes behind a refined convolution add and multiply.

    Raises:
        InternalError: They are not additions of noise and bias, a leaky ReLU and a gain.
    """
    side, channels = conv.up * conv.size, conv.weight.shape[0]
    noise, bias = np.zeros((1, 1, side, side), np.float32), np.zeros(channels, np.float32)
    if len(nodes) < 2:
        raise _unknown(conv)
    *sums, activation, product = nodes
    for node in sums:
        term = _constant(node, constants)
        if node.op_type == "Add" and term.shape[-2:] == (side, side):
            noise = noise + term
        elif node.op_type == "Add" and term.shape == (channels, 1, 1):
            bias = bias + term[:, 0, 0]
        else:
            raise _unknown(conv)
    gain = _constant(product, constants)
    if activation.op_type != "LeakyRelu" or product.op_type != "Mul" or gain.size != 1:
        raise _unknown(conv)
    slope = onnx.helper.get_attribute_value(activation.attribute[0])
    return Epilogue(noise, bias, slope, gain.item())


def _constant(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> np.ndarray:
    """The constant that a node adds or multiplies; an empty array without any."""
    return next((constants[name] for name in node.input if name in constants), np.empty(0))


def _unknown(conv: RefinedConv) -> InternalError:
    return InternalError(f"{conv.layer}: not noise, bias, leaky ReLU and gain behind it")
