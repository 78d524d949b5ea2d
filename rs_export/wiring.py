"""Who makes and who reads the values of a graph, and names for what is found on the way."""

from collections import defaultdict
from collections.abc import Sequence

import onnx

from rs_runtime.contracts.errors import InternalError


class Wiring:
    """Who makes and who reads the values of a graph, as it is when this is made.

    Attributes:
        proto: The graph, whose constants `name_constant` names.
        constants: Its constants by name.
        made_by: The node that makes a value.
        readers: The nodes that read a value, a node once for each of its inputs.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.proto = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def only_reader(self, value: str, operator: str) -> onnx.NodeProto:
        """The node that reads a value.

        Raises:
            InternalError: There are others, or it is another operator.
        """
        found = self.readers[value]
        if len(found) != 1 or found[0].op_type != operator:
            raise unexpected(", ".join(node.op_type for node in found), operator)
        return found[0]

    def source(self, value: str, operator: str) -> onnx.NodeProto:
        """The nearest node of an operator that a value depends on.

        Raises:
            InternalError: There is none.
        """
        layer = [value]
        while layer:
            nodes = [self.made_by[name] for name in layer if name in self.made_by]
            for node in nodes:
                if node.op_type == operator:
                    return node
            layer = [name for node in nodes for name in node.input]
        raise unexpected(f"no {operator} before {value}", operator)

    def name_inputs(self, node: onnx.NodeProto, layer: str, endings: Sequence[str]) -> None:
        """Give a node's constants, in order, names of their own.

        Raises:
            InternalError: It has fewer constants.
        """
        places = [i for i, name in enumerate(node.input) if name in self.constants]
        if len(places) < len(endings):
            raise unexpected(f"{len(places)} constants of a {node.op_type}", f"{len(endings)}")
        for place, ending in zip(places, endings, strict=False):
            self.name_constant(node, place, f"{layer}{ending}")

    def name_constant(self, node: onnx.NodeProto, place: int, name: str) -> None:
        """Let a node read a copy of a constant under a name of its own.

        Other nodes may read the constant, too; `portable.drop_unread` leaves it out if none does.
        """
        copy = self.proto.initializer.add()
        copy.CopyFrom(self.constants[node.input[place]])
        copy.name = node.input[place] = name


def unexpected(found: str, expected: str) -> InternalError:
    """What is raised where a trace has another structure than the network."""
    return InternalError("the traced graph is not as expected", found=found, expected=expected)
