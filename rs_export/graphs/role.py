"""What the exporter knows about one role before it becomes a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from rs_export.trace import trace

Arrays = dict[str, np.ndarray]


class RoleGraph(Protocol):
    """A role that can be exported.

    Attributes:
        name: The role's name in the bundle.
        outputs: Names of its outputs, in order.
    """

    name: str
    outputs: tuple[str, ...]

    def intermediate(self) -> onnx.ModelProto:
        """The graph in the exporter's intermediate form."""

    def reference(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The values that the graph must give for these inputs, by output name."""


@dataclass(frozen=True)
class TracedRole:
    """A role computed by a PyTorch module, which is also its reference.

    Attributes:
        name: The role's name in the bundle.
        module: Takes the inputs in order; returns the outputs in order, as a tuple or a tensor.
        example: Inputs to trace with, by name; dynamic axes are 2 or longer.
        dynamic: Dynamic axes of each input by their names.
        outputs: Names of the outputs.
        arrange: What is done to the traced graph.
    """

    name: str
    module: nn.Module
    example: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, str]]
    outputs: tuple[str, ...] = field(default=())
    arrange: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda model: model

    def intermediate(self) -> onnx.ModelProto:
        """Trace the module."""
        return self.arrange(trace(self.module, self.example, self.outputs, self.dynamic))

    @torch.inference_mode()
    def reference(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Run the module eagerly in fp32."""
        values = self.module(*(torch.from_numpy(inputs[name]) for name in self.example))
        values = (values,) if isinstance(values, Tensor) else values
        return {name: v.numpy() for name, v in zip(self.outputs, values, strict=True)}


def batch_only(names: Mapping[str, Tensor]) -> dict[str, dict[int, str]]:
    """Dynamic axes when only the batch is dynamic."""
    return {name: {0: "N"} for name in names}
