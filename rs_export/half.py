"""Computing in fp16: which nodes of a synthesis do, and the casts between them and the others.

Only feature maps are computed in fp16: their convolutions, residuals, noise, bias and activation.
Styles, tokens, demodulation and the RGB skip stay in fp32, as do whole layers that are named.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from rs_export.forms import RefinedConv
from rs_export.plugin_bodies import fp32_inputs

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def map_nodes(model: onnx.ModelProto, convs: Sequence[RefinedConv]) -> dict[str, str]:
    """Find the nodes that compute feature maps.

    Args:
        model: A synthesis whose refined convolutions `expand` has replaced.
        convs: These convolutions, in graph order.

    Returns:
        Layer by node name: "b8.conv0" for what is between its convolution and its activation,
        "b8.torgb" for a toRGB layer up to its convolution.
    """
    layers = {conv.layer for conv in convs}
    made_by = {output: node.name for node in model.graph.node for output in node.output}
    layer_of_value = {convs[0].values["x"]: convs[0].layer}
    found: dict[str, str] = {}
    for node in model.graph.node:
        before = [layer_of_value[name] for name in node.input if name in layer_of_value]
        if not before:
            continue
        inside = node.name if node.name in layers else node.name.rpartition(".")[0]
        layer = inside if inside in layers else before[0]
        if node.op_type == "Conv" and inside not in layers:
            # The one convolution outside the refined layers is that of toRGB.
            layer = f"{layer.rpartition('.')[0]}.torgb"
            found[made_by[node.input[0]]] = layer
        else:
            layer_of_value |= dict.fromkeys(node.output, layer)
        found[node.name] = layer
    return found


def compute_in_half(model: onnx.ModelProto, nodes: Collection[str]) -> onnx.ModelProto:
    """Return a copy of an fp32 model in which the named nodes take and give fp16.

    Inputs and outputs of the model keep their types; constants are cast once, here.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    floats = float_values(model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    halves = {name for node in graph.node if node.name in nodes for name in node.output}
    kept = list(graph.node)
    del graph.node[:], graph.value_info[:]
    cast: set[str] = set()

    def as_type(name: str, to: int, suffix: str) -> str:
        """Name of a value in another type, which is made when it is first asked for."""
        own = f"{name}.{suffix}"
        if own in cast:
            return own
        cast.add(own)
        if name in constants:
            half = numpy_helper.to_array(constants[name]).astype(np.float16)
            graph.initializer.append(numpy_helper.from_array(half, own))
        else:
            graph.node.append(onnx.helper.make_node("Cast", [name], [own], name=own, to=to))
        return own

    for node in kept:
        in_half, in_single = node.name in nodes, fp32_inputs(node)
        for i, name in enumerate(node.input):
            half = in_half and i not in in_single
            if name in floats and (name in halves) != half:
                to = (TensorProto.FLOAT16, "half") if half else (TensorProto.FLOAT, "single")
                node.input[i] = as_type(name, *to)
        graph.node.append(node)
    _give_single(graph, halves)
    used = {name for node in graph.node for name in node.input}
    needed = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(needed)
    return result


def _give_single(graph: onnx.GraphProto, halves: Collection[str]) -> None:
    """Cast outputs of the graph that are computed in fp16 back to fp32."""
    given = {value.name for value in graph.output} & {*halves}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in given:
                    names[i] = f"{name}.half"
    for name in sorted(given):
        cast = onnx.helper.make_node(
            "Cast", [f"{name}.half"], [name], name=f"{name}.single", to=TensorProto.FLOAT
        )
        graph.node.append(cast)


def float_values(model: onnx.ModelProto) -> set[str]:
    """Names of all values of floating point."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    typed = (*inferred.value_info, *inferred.input, *inferred.output)
    found = {value.name for value in typed if value.type.tensor_type.elem_type in _FLOATS}
    return found | {t.name for t in inferred.initializer if t.data_type in _FLOATS}


def values_in_half(model: onnx.ModelProto, nodes: Mapping[str, str]) -> dict[str, set[str]]:
    """What each layer's nodes would hold in fp16: all floats that they read or give."""
    floats = float_values(model)
    held: dict[str, set[str]] = {layer: set() for layer in nodes.values()}
    for node in model.graph.node:
        if node.name in nodes:
            held[nodes[node.name]] |= floats & {*node.input, *node.output}
    return held
