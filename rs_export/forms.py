"""The refined convolution in ONNX: the only place where its forms are graphs.

`expand` replaces each `rs::RefinedConv` node of the intermediate form by standard operators. A form
is a function in ONNX's own text syntax, whose sizes are filled in for each layer.

    dense          y = d (conv(s x, W0) + box(dW x)), dW = P^T Q formed once an image;
                   `dense_normalised` is the same with all its factors scaled for fp16
    low_rank       y = d conv(s x, W0) + box(d P^T (Q x)), cheaper while L is below the channels
    materialised   y = conv(x, d (s W0 + dW)), the kernel built for one image: N = 1 only
    cpu            low_rank where maps are small, materialised where they are large

In up layers the convolution is transposed and the blur follows it. The modulation m multiplies the
layer's input outside demodulation; on s, dW and Q it is cheaper.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import numpy_helper, parser

from rs_export.intermediate import DOMAIN, INPUTS, OP_TYPE
from rs_runtime.contracts.errors import InternalError
from rs_runtime.reference import BLUR_TAPS

# The largest input of a layer whose weights stay constant in the `cpu` form. Larger maps have many
# pixels and few kernel numbers: building the kernel costs less there than a second path over the
# map. benchmarks/layers.py measures every layer in both forms: up to this side the first takes less
# time or the same at every rank and precision (benchmarks/results/layers-2026-11-20.json).
CONSTANT_UP_TO = 16

# d^-2 = sum_i (s_i^2 sum W0^2 + 2 s_i dW[o,i] sum W0 + k^2 dW[o,i]^2) + 1e-8, with the sums over
# the taps of W0 given, so that they stay exact whatever precision W0 is stored in.
DEMODULATION = """
    one = Constant<value_ints = [1]>()
    s = Add(style, style_offset)
    gain = Mul(s, modulation)
    m_row = Unsqueeze(modulation, one)
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
    last = Constant<value_ints = [2]>()
    residual_norm = ReduceSum<keepdims = 0>(residual_terms, last)
    norm = Add(static_norm, residual_norm)
    norm_not_negative = Relu(norm)
    epsilon = Constant<value_float = 1e-8>()
    norm_safe = Add(norm_not_negative, epsilon)
    norm_root = Sqrt(norm_safe)
    d = Reciprocal(norm_root)
"""
_SHARED_KERNEL = """
    maps = Constant<value_ints = [2, 3]>()
    d_map = Unsqueeze({d}, maps)
    gain_map = Unsqueeze({gain}, maps)
    x_modulated = Mul(x, gain_map)
    base = {convolution}(x_modulated, weight)

    flat = Constant<value_ints = [0, {cin}, {pixels}]>()
    x_flat = Reshape(x, flat)
    square = Constant<value_ints = [0, {cout}, {size}, {size}]>()
"""
_DENSE = """
    dW_modulated = Mul({dW}, m_row)
    r_flat = MatMul(dW_modulated, x_flat)
    r = Reshape(r_flat, square)
    residual = {convolution_by_channel}(r, box)
    refined = Add(base, residual)
    demodulated = Mul(refined, d_map)
    y = {blur}(demodulated{fir})
"""
# Of styles scaled to at most 1 and kernels to at most 1/sqrt(k^2 Cin), which is how sums over taps
# and channels grow, convolutions stay in the range of fp16. d takes the scales back, and the
# residual, which is added before d, is divided by both. All of it is in fp32.
NORMALISED = """
    gain_sizes = Abs(gain)
    gain_largest = ReduceMax<keepdims = 1>(gain_sizes, one)
    gain_least = Constant<value_float = 1e-3>()
    gain_scale = Max(gain_largest, gain_least)
    gain_unit = Div(gain, gain_scale)
    scale = Mul(gain_scale, weight_scale)
    d_scaled = Mul(d, scale)
    scale_column = Unsqueeze(scale, last)
    dW_unit = Div(dW, scale_column)
"""
# d goes onto P, which is small. Box and, in up layers, transposition and blur act on each map's
# rows and columns alike: as products with a constant matrix they cost little, where a transposed
# convolution by channel is the slowest node of the network in OpenVINO.
_LOW_RANK = """
    base_demodulated = Mul(base, d_map)
    base_blurred = {blur}(base_demodulated{fir})

    d_column = Unsqueeze(d, last)
    Pt_demodulated = Mul(Pt, d_column)
    Q_modulated = Mul(Q, m_row)
    t = MatMul(Q_modulated, x_flat)
    r_flat = MatMul(Pt_demodulated, t)
    r = Reshape(r_flat, square)
    rows = MatMul(spread, r)
    residual = MatMul(rows, spread_turned)
    y = Add(base_blurred, residual)
"""
_MATERIALISED = """
    d_column = Unsqueeze(d, last)
    gain_row = Unsqueeze(gain, one)
    dW_modulated = Mul(dW, m_row)
    factors = Mul(d_column, gain_row)
    changes = Mul(dW_modulated, d_column)
    factors_turned = Transpose<perm = {turn}>(factors)
    changes_turned = Transpose<perm = {turn}>(changes)
    a_tap = Constant<value_ints = [{first}, {second}, 1, 1]>()
    factors_tap = Reshape(factors_turned, a_tap)
    changes_tap = Reshape(changes_turned, a_tap)
    kernel_scaled = Mul(weight, factors_tap)
    kernel = Add(kernel_scaled, changes_tap)
    convolved = {convolution}(x, kernel)
    y = {blur}(convolved{fir})
"""


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
    """Dynamic batch, any rank at one price: the form for GPUs and the web."""
    text = function(conv, DEMODULATION + _SHARED_KERNEL + _DENSE)
    cout, k = conv.weight.shape[0], conv.weight.shape[2]
    return text, constants(conv) | {"box": np.ones((cout, 1, k, k), np.float32)}


def dense_normalised(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """`dense` with kernel, styles and residual scaled so that maps can be computed in fp16.

    Source: the pre-normalisation of StyleGAN2-ADA's fp16 layers, extended to the residual.
    """
    names = {"gain": "gain_unit", "d": "d_scaled", "dW": "dW_unit"}
    text = function(conv, DEMODULATION + NORMALISED + _SHARED_KERNEL + _DENSE, **names)
    cout, k = conv.weight.shape[0], conv.weight.shape[2]
    return text, constants_normalised(conv) | {"box": np.ones((cout, 1, k, k), np.float32)}


def low_rank(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """Dynamic batch, at a price that grows with the rank."""
    text = function(conv, DEMODULATION + _SHARED_KERNEL + _LOW_RANK)
    spread = _spread(conv).astype(np.float32)
    turned = np.ascontiguousarray(spread.T)
    return text, constants(conv) | {"spread": spread, "spread_turned": turned}


def materialised(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """A batch of one: the kernel is built from the tokens, so the maps are passed over once."""
    return function(conv, DEMODULATION + _MATERIALISED), constants(conv)


def cpu(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """A batch of one, each layer in the form that is fastest for it on CPUs."""
    small = conv.size <= CONSTANT_UP_TO
    return low_rank(conv) if small else materialised(conv)


def function(
    conv: RefinedConv, body: str, *, gain: str = "gain", d: str = "d", dW: str = "dW"
) -> str:
    """Fill a layer's sizes and operators, and the names of its factors, into a form's lines."""
    cout, cin, k, _ = conv.weight.shape
    first, second = (cin, cout) if conv.up == 2 else (cout, cin)
    sizes = {"cout": cout, "cin": cin, "taps": k * k, "first": first, "second": second}
    sizes |= {"size": conv.size, "pixels": conv.size**2}
    shape, pad, blur_pad = f"kernel_shape = [{k}, {k}]", k // 2, (5 - k) // 2
    if conv.up == 2:
        # Transposed, the kernel gives (2H + k - 2)^2. The blur is linear and keeps channels apart.
        operator = f"ConvTranspose<{shape}, strides = [2, 2]"
        pads = f"pads = [{blur_pad}, {blur_pad}, {blur_pad}, {blur_pad}]"
        blur, fir = f"Conv<kernel_shape = [4, 4], {pads}, group = {cout}>", ", fir"
    else:
        operator = f"Conv<{shape}, pads = [{pad}, {pad}, {pad}, {pad}]"
        blur, fir = "Identity", ""
    lines = body.format(
        convolution=f"{operator}>",
        convolution_by_channel=f"{operator}, group = {cout}>",
        blur=blur,
        fir=fir,
        turn=[0, 2, 1] if conv.up == 2 else [0, 1, 2],
        gain=gain,
        d=d,
        dW=dW,
        **sizes,
    )
    constants = "weight, weight_scale, tap_squares, tap_sums, box, fir, spread, spread_turned"
    constants += ", noise, bias"
    values = "x, style, P, Q, style_offset, modulation"
    opsets = '<domain: "rs", opset_import: ["" : 18]>'
    return f"{opsets}\nForm ({values}, {constants}) => (y)\n{{{lines}}}"


def constants(conv: RefinedConv) -> dict[str, np.ndarray]:
    """What all forms take: the kernel [Cout, Cin, k, k], in up layers [Cin, Cout, k, k], the sums
    over its taps [Cin, Cout] and [Cout, Cin], and the blur."""
    exact = conv.weight.astype(np.float64)
    constants = {
        "weight": conv.weight.swapaxes(0, 1) if conv.up == 2 else conv.weight,
        "tap_squares": np.square(exact).sum(axis=(2, 3)).T,
        "tap_sums": exact.sum(axis=(2, 3)),
    }
    if conv.up == 2:
        fir = np.outer(_blur_line(), _blur_line())
        constants["fir"] = np.tile(fir[None, None], (conv.weight.shape[0], 1, 1, 1))
    return {name: np.ascontiguousarray(v, np.float32) for name, v in constants.items()}


def constants_normalised(conv: RefinedConv) -> dict[str, np.ndarray]:
    """`constants` for the lines `NORMALISED`: each output's kernel divided by its scale [Cout]."""
    _, cin, k, _ = conv.weight.shape
    largest = np.abs(conv.weight).max(axis=(1, 2, 3)) * np.float32(k * np.sqrt(cin))
    scale = np.where(largest > 0, largest, 1).astype(np.float32)
    unit = replace(conv, weight=conv.weight / scale[:, None, None, None])
    return constants(conv) | {"weight": constants(unit)["weight"], "weight_scale": scale}


def _blur_line() -> np.ndarray:
    """The blur along one axis, gain 2."""
    return np.array(BLUR_TAPS) * 2 / sum(BLUR_TAPS)


def _spread(conv: RefinedConv) -> np.ndarray:
    """What a k-box does to one axis: [H, H], or in up layers with stride and blur [2H, H]."""
    k, size = conv.weight.shape[2], conv.size
    if conv.up == 1:
        near = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        return (near <= k // 2).astype(np.float64)
    boxed = np.zeros((2 * size + k - 2, size))
    for tap in range(k):
        boxed[np.arange(size) * 2 + tap, np.arange(size)] = 1
    pad = (5 - k) // 2
    padded = np.pad(boxed, ((pad, pad), (0, 0)))
    return sum(t * padded[i : i + 2 * size] for i, t in enumerate(_blur_line()))


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
    for name in (value.name for value in graph.output if value.name in layers):
        graph.node.append(onnx.helper.make_node("Identity", [layers[name]], [name], name=name))
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
