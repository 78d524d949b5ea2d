"""The names that a synthesis graph's constants have, by which the native engine finds them.

    const                                    [C, 4, 4], the learned start
    b8.conv0.weight                          as the forms keep it: [Cout, Cin, 3, 3], in up layers
                                             [Cin, Cout, 3, 3]
    b8.conv0.affine.weight, .affine.bias     latent to style, [Cin, w_dim] and [Cin]
    b8.conv0.noise                           the stored noise times its strength, [H, W]
    b8.conv0.bias, b8.torgb.bias             [C, 1, 1]
    b8.torgb.weight                          [3, Cin, 1, 1]
    b8.torgb.affine.weight, .affine.bias

Gains are applied in all of them; `rs_export.forms` names those of the convolutions' kernels.
"""

from collections import defaultdict
from collections.abc import Sequence

import onnx
from onnx import helper

from rs_export.intermediate import DOMAIN, INPUTS, OP_TYPE
from rs_export.portable import drop_unread
from rs_runtime.contracts.errors import InternalError

_AFFINE = (".affine.weight", ".affine.bias")


def name_constants(model: onnx.ModelProto, torgbs: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of an intermediate synthesis whose constants have these names.

    Args:
        model: One node a refined convolution.
        torgbs: Names of its toRGB layers, in graph order.

    Raises:
        InternalError: The graph is not built as expected.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = _Graph(result.graph)
    convs = [node for node in result.graph.node if (node.domain, node.op_type) == (DOMAIN, OP_TYPE)]
    for node in convs:
        layer = helper.get_node_attr_value(node, "layer").decode()
        graph.name_inputs(graph.source(node.input[INPUTS.index("style")], "Gemm"), layer, _AFFINE)
        noise = graph.only_reader(node.output[0], "Add")
        graph.name_inputs(noise, layer, (".noise",))
        graph.name_inputs(graph.only_reader(noise.output[0], "Add"), layer, (".bias",))
    colours = [node for node in result.graph.node if graph.is_torgb(node)]
    if len(colours) != len(torgbs):
        raise _unexpected(f"{len(colours)} toRGB layers", f"{len(torgbs)}")
    for layer, node in zip(torgbs, colours, strict=True):
        graph.name_inputs(node, layer, (".weight",))
        graph.name_inputs(graph.only_reader(node.output[0], "Add"), layer, (".bias",))
        graph.name_inputs(graph.source(node.input[0], "Gemm"), layer, _AFFINE)
    starts = [node for node in result.graph.node if node.op_type == "Expand"]
    graph.name_inputs(starts[0], "", ("const",))
    drop_unread(result.graph)
    return result


class _Graph:
    """Who makes and who reads the values of a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.proto = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def is_torgb(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a 1x1 convolution to three colours."""
        kernel = self.constants.get(node.input[1]) if node.op_type == "Conv" else None
        return kernel is not None and (kernel.dims[0], *kernel.dims[2:]) == (3, 1, 1)

    def only_reader(self, value: str, operator: str) -> onnx.NodeProto:
        """The node that reads a value."""
        found = self.readers[value]
        if len(found) != 1 or found[0].op_type != operator:
            raise _unexpected(", ".join(node.op_type for node in found), operator)
        return found[0]

    def source(self, value: str, operator: str) -> onnx.NodeProto:
        """The nearest node of an operator that a value depends on."""
        layer = [value]
        while layer:
            nodes = [self.made_by[name] for name in layer if name in self.made_by]
            for node in nodes:
                if node.op_type == operator:
                    return node
            layer = [name for node in nodes for name in node.input]
        raise _unexpected(f"no {operator} before {value}", operator)

    def name_inputs(self, node: onnx.NodeProto, layer: str, endings: Sequence[str]) -> None:
        """Give a node's constants, in order, names of their own."""
        places = [i for i, name in enumerate(node.input) if name in self.constants]
        if len(places) < len(endings):
            raise _unexpected(f"{len(places)} constants of a {node.op_type}", f"{len(endings)}")
        for place, ending in zip(places, endings, strict=False):
            copy = self.proto.initializer.add()
            copy.CopyFrom(self.constants[node.input[place]])
            copy.name = node.input[place] = f"{layer}{ending}"


def _unexpected(found: str, expected: str) -> InternalError:
    return InternalError(
        "the trace of the synthesis is not as expected", found=found, expected=expected
    )
