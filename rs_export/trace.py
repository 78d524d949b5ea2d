"""PyTorch module to the intermediate ONNX graph."""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence

import onnx
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from rs_export.intermediate import TRANSLATION, as_nodes

OPSET = 18


def trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    """Trace a module whose forward takes `inputs` in this order and returns `outputs`.

    Args:
        module: What to trace, in eval mode.
        inputs: Example inputs by name; dynamic axes need a length of 2 or more in them.
        outputs: Names of the outputs, in order.
        dynamic: For each input its dynamic axes by their names, e.g. {"w_plus": {0: "N"}}.

    Returns:
        The model with one `rs::RefinedConv` node a refined convolution and all that depends on
        weights alone folded into initialisers.
    """
    dims = {name: torch.export.Dim(name) for axes in dynamic.values() for name in axes.values()}
    shapes = tuple({axis: dims[d] for axis, d in dynamic.get(name, {}).items()} for name in inputs)
    with as_nodes(), _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            custom_translation_table=TRANSLATION,
            optimize=False,  # done below, with no limit on the size of what is folded
            verbose=False,
        )
        model = onnxscript.ir.to_proto(
            onnxscript.optimizer.optimize(
                program.model, input_size_limit=1 << 31, output_size_limit=1 << 31
            )
        )
    return model


@contextlib.contextmanager
def _quiet():
    """Keep the exporter's progress lines and known warnings off the terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
