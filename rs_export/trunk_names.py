"""The names that an encoder's trunk has in its role's graph, by which the native engine finds it.

Values:

    trunk.picture                            [N, in, S, S], what the input convolution reads
    trunk.quarter, .eighth, .sixteenth       [N, C, S/4, S/4] and so on, what the trunk gives

Constants, N from 0 to 23; a bias is there where a batch norm that follows is folded into the
convolution and moves it:

    trunk.input.weight, .bias                [C, in, 3, 3] and [C]
    trunk.input.slope                        [1, C, 1, 1], of a PReLU
    trunk.units.N.norm.weight, .bias,
        .mean, .variance                     [Cin], of the batch norm before the first convolution
    trunk.units.N.conv1.weight, .bias        [C, Cin, 3, 3] and [C]
    trunk.units.N.slope                      [1, C, 1, 1]
    trunk.units.N.conv2.weight, .bias        [C, C, 3, 3] and [C]
    trunk.units.N.projection.weight, .bias   [C, Cin, 1, 1] and [C], where Cin is not C
    trunk.units.N.gate.reduce, .gate.expand  [C/16, C, 1, 1] and [C, C/16, 1, 1]
"""

from itertools import accumulate
from typing import Any

import numpy as np
import onnx
from onnx import helper

from rs_export.portable import drop_unread, tensor_specs
from rs_export.wiring import Wiring, unexpected
from rs_runtime.contracts.errors import InternalError

PICTURE = "trunk.picture"
_WEIGHT = "trunk.input.weight"  # of the first convolution; perhaps stored as fp16
_UNITS_PER_STAGE = (3, 4, 14, 3)  # of IR-SE50, the only trunk that the native engine knows
_TAPS = ("trunk.quarter", "trunk.eighth", "trunk.sixteenth")  # of all stages but the first
_INPUT_WEIGHT = "trunk.input_layer.0.weight"
_NORM = (".norm.weight", ".norm.bias", ".norm.mean", ".norm.variance")
_EPSILON = np.float32(1e-5)
# Pixels of a picture times the square of the first stage's channels: from here on the native engine
# is faster than the one beside it would be on the trunk, too (benchmarks/encoders.py).
_GAINS_FROM = 256**2 * 32**2


def name_trunk(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a traced encoder whose trunk has these names.

    The copy is as it was where the native engine could not run the trunk: there is none or more
    than one, it is no whole IR-SE50, its pictures are not square, or the rest of the graph reads
    other maps of it.

    Args:
        model: Standard operators, with its weights in fp32.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = Wiring(result.graph)
    inputs = [node for node in result.graph.node if _is_input_layer(node)]
    if len(inputs) != 1 or not _is_square(result, inputs[0].input[0]):
        return result
    walk = _Walk(graph)
    try:
        walk.through(inputs[0])
    except InternalError:
        return result
    for node, place, name in walk.constants:
        graph.name_constant(node, place, name)
    _rename_values(result.graph, walk.values)
    drop_unread(result.graph)
    return result


def has_trunk(model: onnx.ModelProto) -> bool:
    """Whether the native engine can run the trunk of a graph: whether it is named."""
    return any(PICTURE in node.output for node in model.graph.node)


def gains_by_native(model: onnx.ModelProto) -> bool:
    """Whether the native engine should run the trunk of an encoder's graph: it is named and large.

    Args:
        model: Of a role that reads `image` [N, S, S, 3].
    """
    if not has_trunk(model):
        return False
    (size,) = (spec.shape[1] for spec in tensor_specs(model.graph.input) if spec.name == "image")
    (weight,) = (own for own in model.graph.initializer if own.name.startswith(_WEIGHT))
    return int(size) ** 2 * weight.dims[0] ** 2 >= _GAINS_FROM


def _is_input_layer(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and f".{node.input[1]}".endswith(f".{_INPUT_WEIGHT}")


def _is_square(model: onnx.ModelProto, value: str) -> bool:
    """Whether a map [N, C, H, W] is known to have H = W."""
    known = {info.name: info for info in model.graph.value_info}
    if value not in known:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        known = {info.name: info for info in inferred.value_info}
    if value not in known:
        return False
    sides = [side.dim_value for side in known[value].type.tensor_type.shape.dim]
    return len(sides) == 4 and sides[2] == sides[3] > 0


class _Walk:
    """Follows a trunk node by node and keeps what it finds.

    It checks what the native engine takes for granted, and that everything hangs together in the
    way of the network; that the numbers are right is proven later, by value.

    Attributes:
        graph: Where it walks.
        constants: A node, which of its inputs, and the name to be of that.
        values: Names to be, by those that there are.
        inner: First outputs of the trunk's nodes.
    """

    def __init__(self, graph: Wiring) -> None:
        self.graph = graph
        self.constants: list[tuple[onnx.NodeProto, int, str]] = []
        self.values: dict[str, str] = {}
        self.inner: set[str] = set()

    def through(self, first: onnx.NodeProto) -> None:
        """Walk from the first convolution to the last unit.

        Raises:
            InternalError: The trunk is built in another way.
        """
        self.values[first.input[0]] = PICTURE
        x = self._conv(first, "trunk.input", side=3, stride=1)
        x = self._prelu(x, "trunk.input.slope")
        ends = [*accumulate(_UNITS_PER_STAGE)]
        taps = dict(zip(ends[1:], _TAPS, strict=True))
        for index in range(ends[-1]):
            x = self._unit(x, f"trunk.units.{index}", stride=2 if index in (0, *ends) else 1)
            if index + 1 in taps:
                self.values[x] = taps[index + 1]
        self._check_closed()

    def _conv(self, node: onnx.NodeProto, name: str, *, side: int, stride: int) -> str:
        """A convolution with its bias, if it has one."""
        half = side // 2
        expected = {
            "kernel_shape": [side] * 2,
            "strides": [stride] * 2,
            "pads": [half] * 4,
            "dilations": [1] * 2,
            "group": 1,
        }
        found = {key: _attribute(node, key) for key in expected}
        if node.op_type != "Conv" or found != expected:
            raise unexpected(f"{node.op_type} {found}", f"Conv {expected}")
        endings = (".weight", ".bias")[: len(node.input) - 1]
        for place, ending in enumerate(endings, start=1):
            self._constant(node, place, f"{name}{ending}")
        return self._inside(node)

    def _prelu(self, x: str, name: str) -> str:
        """The PReLU behind a convolution."""
        node = self.graph.only_reader(x, "PRelu")
        slope = self._constant(node, 1, name)
        if len(slope.dims) != 4 or slope.dims[1] != np.prod(slope.dims):
            raise unexpected(f"slopes {list(slope.dims)}", "one a channel, [1, C, 1, 1]")
        return self._inside(node)

    def _unit(self, x: str, name: str, *, stride: int) -> str:
        """A bottleneck unit; returns the sum that it ends with."""
        norms = [node for node in self.graph.readers[x] if node.op_type == "BatchNormalization"]
        if len(norms) != 1 or np.float32(_attribute(norms[0], "epsilon")) != _EPSILON:
            raise unexpected(f"{len(norms)} batch norms of {x}", f"one with {_EPSILON}")
        for place, ending in enumerate(_NORM, start=1):
            self._constant(norms[0], place, f"{name}{ending}")
        y = self._inside(norms[0])
        y = self._conv(self.graph.only_reader(y, "Conv"), f"{name}.conv1", side=3, stride=1)
        y = self._prelu(y, f"{name}.slope")
        y = self._conv(self.graph.only_reader(y, "Conv"), f"{name}.conv2", side=3, stride=stride)
        y = self._gate(y, f"{name}.gate")
        total = self.graph.only_reader(y, "Add")
        others = [value for value in total.input if value != y]
        self._shortcut(others[0], x, f"{name}.projection")
        return self._inside(total)

    def _check_closed(self) -> None:
        """Insist on nothing else reading or giving what is in the trunk, but for its taps, and on
        the graph not taking or giving these itself, whose names are its interface."""
        proto = self.graph.proto
        for value in self.inner - {*self.values}:
            if any(node.output[0] not in self.inner for node in self.graph.readers[value]):
                raise unexpected(f"{value} is read outside of the trunk", "nothing but its taps")
        interface = {value.name for value in (*proto.input, *proto.output)}
        if interface & {*self.values, *self.inner}:
            raise unexpected("values of the trunk in the graph's interface", "values inside")

    def _gate(self, x: str, name: str) -> str:
        """The channel gate, from its mean to its product."""
        readers = {node.op_type: node for node in self.graph.readers[x]}
        if {*readers} != {"ReduceMean", "Mul"}:
            raise unexpected(", ".join(readers), "ReduceMean and Mul")
        y = self._inside(readers["ReduceMean"])
        for operator, part in (("Relu", "reduce"), ("Sigmoid", "expand")):
            node = self.graph.only_reader(y, "Conv")
            if len(node.input) != 2:
                raise unexpected(f"a bias of {name}.{part}", "none")
            self._constant(node, 1, f"{name}.{part}")
            y = self._inside(self.graph.only_reader(self._inside(node), operator))
        product = self.graph.only_reader(y, "Mul")
        if {*product.input} != {x, y}:
            raise unexpected(f"a product of {list(product.input)}", f"{x} times its gate")
        return self._inside(product)

    def _shortcut(self, value: str, x: str, name: str) -> None:
        """What is between a unit's input and its sum: pixels that the stride keeps, projected."""
        node = self.graph.made_by.get(value)
        if node is not None and node.op_type == "Conv":
            self._conv(node, name, side=1, stride=1)
            value = node.input[0]
        while value != x:
            node = self.graph.made_by.get(value)
            if node is None or node.op_type != "Slice":
                raise unexpected(f"{value} in a shortcut", f"{x}, or a part of it")
            self._inside(node)
            value = node.input[0]

    def _constant(self, node: onnx.NodeProto, place: int, name: str) -> onnx.TensorProto:
        tensor = self.graph.constants.get(node.input[place])
        if tensor is None:
            raise unexpected(f"{name} is computed", "a constant")
        self.constants.append((node, place, name))
        return tensor

    def _inside(self, node: onnx.NodeProto) -> str:
        """Count a node as the trunk's own; returns what it gives."""
        self.inner.add(node.output[0])
        return node.output[0]


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    found = (helper.get_attribute_value(own) for own in node.attribute if own.name == name)
    return next(found, None)


def _rename_values(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            for place, value in enumerate(values):
                values[place] = names.get(value, value)
    for info in graph.value_info:
        info.name = names.get(info.name, info.name)
