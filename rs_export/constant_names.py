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

from collections.abc import Sequence

import onnx
from onnx import helper

from rs_export.intermediate import DOMAIN, INPUTS, OP_TYPE
from rs_export.portable import drop_unread
from rs_export.wiring import Wiring, unexpected

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
    graph = Wiring(result.graph)
    convs = [node for node in result.graph.node if (node.domain, node.op_type) == (DOMAIN, OP_TYPE)]
    for node in convs:
        layer = helper.get_node_attr_value(node, "layer").decode()
        graph.name_inputs(graph.source(node.input[INPUTS.index("style")], "Gemm"), layer, _AFFINE)
        noise = graph.only_reader(node.output[0], "Add")
        graph.name_inputs(noise, layer, (".noise",))
        graph.name_inputs(graph.only_reader(noise.output[0], "Add"), layer, (".bias",))
    colours = [node for node in result.graph.node if _is_torgb(graph, node)]
    if len(colours) != len(torgbs):
        raise unexpected(f"{len(colours)} toRGB layers", f"{len(torgbs)}")
    for layer, node in zip(torgbs, colours, strict=True):
        graph.name_inputs(node, layer, (".weight",))
        graph.name_inputs(graph.only_reader(node.output[0], "Add"), layer, (".bias",))
        graph.name_inputs(graph.source(node.input[0], "Gemm"), layer, _AFFINE)
    starts = [node for node in result.graph.node if node.op_type == "Expand"]
    graph.name_inputs(starts[0], "", ("const",))
    drop_unread(result.graph)
    return result


def _is_torgb(graph: Wiring, node: onnx.NodeProto) -> bool:
    """Whether a node is a 1x1 convolution to three colours."""
    kernel = graph.constants.get(node.input[1]) if node.op_type == "Conv" else None
    return kernel is not None and (kernel.dims[0], *kernel.dims[2:]) == (3, 1, 1)
