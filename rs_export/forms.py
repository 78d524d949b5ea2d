"""The refined convolution in ONNX: the only place where its forms are graphs.

`expand` replaces each `rs::RefinedConv` node of the intermediate form by standard operators. A form
is a function in ONNX's own text syntax, whose sizes are filled in for each layer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper, parser

from rs_export.intermediate import DOMAIN, INPUTS, OP_TYPE
from rs_runtime.contracts.errors import InternalError

# The dense form: y = d (conv(s x, W0) + box(dW x)), dW = P^T Q formed once an image.
# d^-2 = sum_i (s_i^2 sum W0^2 + 2 s_i dW[o,i] sum W0 + k^2 dW[o,i]^2) + 1e-8, with the sums over
# the taps of W0 given, so that they stay exact whatever precision W0 is stored in.
# The modulation m multiplies the layer's input outside demodulation; on s and dW it is cheaper.
_DENSE = """
<domain: "rs", opset_import: ["" : 18]>
Dense (x, weight, tap_squares, tap_sums, box, fir, style, P, Q, style_offset, modulation) => (y)
{{
    one = Constant<value_ints = [1]>()
    maps = Constant<value_ints = [2, 3]>()
    s = Add(style, style_offset)
    Pt = Transpose<perm = [0, 2, 1]>(P)
    dW = MatMul(Pt, Q)

    s_squared = Mul(s, s)
    static_norm = MatMul(s_squared, tap_squares)
    s_row = Unsqueeze(s, one)
    s_sums = Mul(s_row, tap_sums)
    two = Constant<value_float = 2.0>()
    s_sums_twice = Mul(s_sums, two)
    taps = Constant<value_float = {taps}.0>()
    dW_taps = Mul(dW, taps)
    cross_and_own = Add(s_sums_twice, dW_taps)
    residual_terms = Mul(dW, cross_and_own)
    inputs = Constant<value_ints = [2]>()
    residual_norm = ReduceSum<keepdims = 0>(residual_terms, inputs)
    norm = Add(static_norm, residual_norm)
    norm_not_negative = Relu(norm)
    epsilon = Constant<value_float = 1e-8>()
    norm_safe = Add(norm_not_negative, epsilon)
    norm_root = Sqrt(norm_safe)
    d = Reciprocal(norm_root)
    d_map = Unsqueeze(d, maps)

    gain = Mul(s, modulation)
    gain_map = Unsqueeze(gain, maps)
    x_modulated = Mul(x, gain_map)
    base = {convolution}(x_modulated, weight)

    m_row = Unsqueeze(modulation, one)
    dW_modulated = Mul(dW, m_row)
    flat = Constant<value_ints = [0, {cin}, {pixels}]>()
    x_flat = Reshape(x, flat)
    r_flat = MatMul(dW_modulated, x_flat)
    square = Constant<value_ints = [0, {cout}, {size}, {size}]>()
    r = Reshape(r_flat, square)
    residual = {boxed}(r, box)

    refined = Add(base, residual)
    {result}
}}
"""
_SAME = {
    "convolution": "Conv<kernel_shape = [{k}, {k}], pads = [{p}, {p}, {p}, {p}]>",
    "boxed": "Conv<kernel_shape = [{k}, {k}], pads = [{p}, {p}, {p}, {p}], group = {cout}>",
    "result": "y = Mul(refined, d_map)",
}
# Transposed, the kernel gives (2H + k - 2)^2. The blur is linear and keeps channels apart, so it
# takes the sum of both paths.
_UP = {
    "convolution": "ConvTranspose<kernel_shape = [{k}, {k}], strides = [2, 2]>",
    "boxed": "ConvTranspose<kernel_shape = [{k}, {k}], strides = [2, 2], group = {cout}>",
    "result": "demodulated = Mul(refined, d_map)\n"
    "    y = Conv<kernel_shape = [4, 4], pads = [{b}, {b}, {b}, {b}], group = {cout}>"
    "(demodulated, fir)",
}


@dataclass(frozen=True)
class RefinedConv:
    """What one node of the intermediate form says.

    Attributes:
        layer: Name in the layer table.
        up: 1, or 2 for a transposed convolution followed by the blur.
        size: Height and width of the input.
        weight: Static kernel W0 [Cout, Cin, k, k] fp32, run-time gain applied.
        values: Names of the node's values by `INPUTS`, and "y".
    """

    layer: str
    up: int
    size: int
    weight: np.ndarray
    values: dict[str, str]


# Gives a layer's text and its constants by the names that they have in the text.
Form = Callable[[RefinedConv], tuple[str, dict[str, np.ndarray]]]


def dense(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """Return the dense, dynamic-batch form as ONNX text and the constants that it takes.

    Constants are [Cout, Cin, k, k] or transposed [Cin, Cout, k, k] for `weight`, the tap sums
    [Cin, Cout] and [Cout, Cin], and the two depthwise filters.
    """
    cout, cin, k, _ = conv.weight.shape
    sizes = {"cout": cout, "cin": cin, "k": k, "p": k // 2, "b": (5 - k) // 2, "taps": k * k}
    sizes |= {"size": conv.size, "pixels": conv.size**2}
    pieces = {name: text.format(**sizes) for name, text in (_UP if conv.up == 2 else _SAME).items()}
    exact = conv.weight.astype(np.float64)
    line = np.array([1, 3, 3, 1], np.float32)
    constants = {
        "weight": conv.weight.swapaxes(0, 1) if conv.up == 2 else conv.weight,
        "tap_squares": np.square(exact).sum(axis=(2, 3)).T,
        "tap_sums": exact.sum(axis=(2, 3)),
        "box": np.ones((cout, 1, k, k)),
    }
    if conv.up == 2:
        constants["fir"] = np.tile(np.outer(line, line)[None, None] / 16, (cout, 1, 1, 1))
    constants = {k: np.ascontiguousarray(v, np.float32) for k, v in constants.items()}
    return _DENSE.format(**sizes, **pieces), constants


def refined_convs(model: onnx.ModelProto) -> list[RefinedConv]:
    """Read the refined convolutions of an intermediate model, in graph order.

    Raises:
        InternalError: A kernel that is not a constant of the graph.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if (node.domain, node.op_type) != (DOMAIN, OP_TYPE):
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        layer = attributes["layer"].decode()
        values = dict(zip(INPUTS, node.input, strict=True)) | {"y": node.output[0]}
        if values["weight"] not in constants:
            raise InternalError(f"{layer}: the kernel was not folded into a constant")
        weight = numpy_helper.to_array(constants[values["weight"]])
        found.append(RefinedConv(layer, attributes["up"], attributes["size"], weight, values))
    return found


def expand(model: onnx.ModelProto, form: Form = dense) -> onnx.ModelProto:
    """Return a copy of an intermediate model with every refined convolution in one form.

    Node names, values and constants inside a layer start with its name ("b8.conv0.base"); the
    layer's result is called by the name alone.

    Raises:
        InternalError: A kernel that is not a constant of the graph.
    """
    convs = {conv.values["y"]: conv for conv in refined_convs(model)}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.value_info[:]
    kernels = {conv.values["weight"] for conv in convs.values()}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in kernels]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    layers = {conv.values["y"]: conv.layer for conv in convs.values()}
    for node in model.graph.node:
        conv = convs.get(node.output[0])
        if conv is None:
            copy = graph.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [layers.get(name, name) for name in node.input]
            continue
        values = {key: layers.get(name, name) for key, name in conv.values.items()}
        nodes, tensors = _instantiate(conv, values, form)
        graph.node.extend(nodes)
        graph.initializer.extend(tensors)
    for opset in list(result.opset_import):
        if opset.domain == DOMAIN:
            result.opset_import.remove(opset)
    return result


def _instantiate(
    conv: RefinedConv, values: dict[str, str], form: Form
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    text, constants = form(conv)
    names = {key: name for key, name in values.items() if key not in constants}
    nodes = list(parser.parse_function(text).node)
    for node in nodes:
        node.input[:] = [names.get(name, f"{conv.layer}.{name}") for name in node.input]
        node.output[:] = [names.get(name, f"{conv.layer}.{name}") for name in node.output]
        node.name = node.output[0]
    tensors = [
        numpy_helper.from_array(value, f"{conv.layer}.{name}") for name, value in constants.items()
    ]
    return nodes, tensors
