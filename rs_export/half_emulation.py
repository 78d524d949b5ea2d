"""What a GPU computes from an fp16 graph, in NumPy: each result rounded to fp16, sums in fp32.

CPU providers compute fp16 graphs in fp32, so that neither rounding nor overflow would be seen
there. Here every operator of the reference implementation gives fp16, infinities included, and
convolutions and products keep their sums in fp32 until they are done, as tensor cores do.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor

from rs_export.graphs.role import Arrays


def emulate(model: onnx.ModelProto) -> Callable[[Mapping[str, np.ndarray]], Arrays]:
    """Return what runs a graph this way; its inputs and outputs are arrays by name."""
    evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
    names = [value.name for value in model.graph.output]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        with np.errstate(over="ignore", invalid="ignore"):
            return dict(zip(names, evaluator.run(None, dict(inputs)), strict=True))

    return run


class _Summing(OpRun):
    """An operator whose sums are in fp32 and whose result is of its inputs' type."""

    op_domain = ""

    def _run(self, *arrays: np.ndarray, **attributes: Any) -> tuple[np.ndarray]:
        operands = [torch.tensor(a, dtype=torch.float32) for a in arrays]
        return (self.compute(operands, **attributes).numpy().astype(arrays[0].dtype),)

    @abstractmethod
    def compute(self, operands: list[Tensor], **attributes: Any) -> Tensor:
        """Return the result in fp32."""


class MatMul(_Summing):
    def compute(self, operands: list[Tensor]) -> Tensor:
        return operands[0] @ operands[1]


class Conv(_Summing):
    def compute(self, operands: list[Tensor], **attributes: Any) -> Tensor:
        return F.conv2d(*operands, **_geometry(**attributes))


class ConvTranspose(_Summing):
    def compute(self, operands: list[Tensor], **attributes: Any) -> Tensor:
        return F.conv_transpose2d(*operands, **_geometry(**attributes))


class AveragePool(_Summing):
    def compute(self, operands: list[Tensor], **attributes: Any) -> Tensor:
        pads, strides = attributes["pads"], attributes["strides"] or 1
        # Zeros beyond the edge are counted: nothing of ours leaves them out.
        return F.avg_pool2d(*operands, attributes["kernel_shape"], strides, tuple(pads[:2]))


# What NumPy would do slowly, or with sums in fp16.
OPERATORS = [Conv, ConvTranspose, MatMul, AveragePool]


def _geometry(
    group: int = 1,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Attributes as PyTorch calls them; our graphs have symmetric pads and no dilation."""
    return {
        "groups": group or 1,
        "padding": tuple(pads[:2]) if pads else 0,
        "stride": tuple(strides) if strides else 1,
    }
