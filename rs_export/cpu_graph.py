"""A network of refined convolutions for one picture on a CPU.

Besides the form of the convolutions, two things outside them cost passes over large maps:

* OpenVINO sums constants that are added one after the other. Noise [H, W] and bias [C, 1, 1] would
  become a map of [C, H, W], at 1024 x 1024 a gigabyte of them in all, read again for every picture.
* A toRGB layer scales the map that it reads, which the next block reads unscaled.
"""

from collections import defaultdict

import onnx
from onnx import helper

from rs_export import forms
from rs_export.portable import for_one


def for_cpus(intermediate: onnx.ModelProto, form: forms.Form = forms.cpu) -> onnx.ModelProto:
    """Return the intermediate form as flat ONNX of a batch of one.

    Args:
        intermediate: One node a refined convolution.
        form: Their form.
    """
    model = for_one(forms.expand(intermediate, form))
    _part_noise_from_bias(model.graph)
    _scale_kernels_instead_of_maps(model.graph)
    return model


def _part_noise_from_bias(graph: onnx.GraphProto) -> None:
    """Turn `(x + noise) + bias` into `same(x + bias) + noise`, `same` being an activation of slope
    1, which engines compute along with the convolution and never leave out."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    readers = _readers(graph)
    nodes = []
    for node in graph.node:
        nodes.append(node)
        following = readers[node.output[0]] if node.op_type == "Add" else []
        if len(following) != 1 or following[0].op_type != "Add":
            continue
        (last,) = following
        if ranks.get(node.input[1]) != 2 or ranks.get(last.input[1]) != 3:
            continue
        same = f"{node.output[0]}.same"
        nodes.append(helper.make_node("LeakyRelu", [node.output[0]], [same], name=same, alpha=1.0))
        node.input[1], last.input[1] = last.input[1], node.input[1]
        last.input[0] = same
    _replace(graph, nodes)


def _scale_kernels_instead_of_maps(graph: onnx.GraphProto) -> None:
    """Turn `conv1x1(x s, W)` into `conv1x1(x, W s)`, which is the same for one picture."""
    kernels = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    readers = _readers(graph)
    nodes, left_out = [], set()
    for node in graph.node:
        product = made_by.get(node.input[0]) if node.op_type == "Conv" else None
        if (
            product is not None
            and product.op_type == "Mul"
            and made_by.get(product.input[1], product).op_type == "Unsqueeze"
            and kernels.get(node.input[1], ())[2:] == (1, 1)
            and len(readers[product.output[0]]) == 1
        ):
            scaled = f"{node.output[0]}.kernel"
            factors = [node.input[1], product.input[1]]
            nodes.append(helper.make_node("Mul", factors, [scaled], name=scaled))
            node.input[0], node.input[1] = product.input[0], scaled
            left_out.add(product.name)
        nodes.append(node)
    _replace(graph, [node for node in nodes if node.name not in left_out])


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
