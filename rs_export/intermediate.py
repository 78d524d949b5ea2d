"""The exporter's intermediate form: every refined convolution is one `rs::RefinedConv` node.

Inside `as_nodes()` the generator's layers call the torch operator `rs::refined_conv`, which the
ONNX exporter turns into one node each. The operator computes what the layer computes, so a module
can still be run there.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import onnx.defs
import onnxscript
import torch
from torch import Tensor

from rs_export.plugin_bodies import DOMAIN
from rs_train.generator.refined_conv import Form, refined_conv
from rs_train.generator.synthesis import SynthesisLayer
from rs_train.generator.tokens import LayerTokens

OP_TYPE = "RefinedConv"
INPUTS = ("x", "weight", "style", "P", "Q", "style_offset", "modulation")

# layer, x [N, Cin, H, W], style [N, Cin], tokens, form -> y, as `SynthesisLayer.convolve`.
Convolve = Callable[[SynthesisLayer, Tensor, Tensor, LayerTokens, Form], Tensor]


@torch.library.custom_op("rs::refined_conv", mutates_args=())
def refined_conv_operator(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    P: Tensor,
    Q: Tensor,
    style_offset: Tensor,
    modulation: Tensor,
    layer: str,
    up: int,
    size: int,
) -> Tensor:
    """Compute one refined, demodulated layer; see `rs_train.generator.refined_conv`.

    `layer` names the node; `size` is the input's height and width. Both end up as attributes.
    """
    return refined_conv(
        x, weight, style, P=P, Q=Q, style_offset=style_offset, modulation=modulation, up=up
    )


@refined_conv_operator.register_fake
def _shape(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    P: Tensor,
    Q: Tensor,
    style_offset: Tensor,
    modulation: Tensor,
    layer: str,
    up: int,
    size: int,
) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], up * size, up * size)


def _convolve(
    self: SynthesisLayer, x: Tensor, style: Tensor, tokens: LayerTokens, form: Form
) -> Tensor:
    return refined_conv_operator(
        x,
        self.weight * self.weight_gain,
        style,
        *tokens,
        self.layer.name,
        self.layer.up,
        x.shape[-1],
    )


@contextmanager
def convolving_by(convolve: Convolve) -> Iterator[None]:
    """Let every refined layer of every generator compute its convolution by `convolve`.

    Not for several threads at once: the layers' class is what changes.
    """
    plain = SynthesisLayer.convolve
    SynthesisLayer.convolve = convolve
    try:
        yield
    finally:
        SynthesisLayer.convolve = plain


def as_nodes() -> AbstractContextManager[None]:
    """Let every refined layer call the operator instead of plain torch.

    All four of P, Q, style_offset and modulation must be given to the synthesis.
    """
    return convolving_by(_convolve)


def _schema() -> onnx.defs.OpSchema:
    schema = onnx.defs.OpSchema
    attribute, kind = schema.Attribute, schema.AttrType
    return schema(
        OP_TYPE,
        DOMAIN,
        1,
        inputs=[schema.FormalParameter(name, "T") for name in INPUTS],
        outputs=[schema.FormalParameter("y", "T")],
        type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "")],
        attributes=[
            attribute("layer", kind.STRING, required=True),
            attribute("up", kind.INT, required=True),
            attribute("size", kind.INT, required=True),
        ],
    )


_node = onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), OP_TYPE, _schema())


def _translate(
    x: onnxscript.ir.Value,
    weight: onnxscript.ir.Value,
    style: onnxscript.ir.Value,
    P: onnxscript.ir.Value,
    Q: onnxscript.ir.Value,
    style_offset: onnxscript.ir.Value,
    modulation: onnxscript.ir.Value,
    layer: str,
    up: int,
    size: int,
) -> onnxscript.ir.Value:
    return _node(x, weight, style, P, Q, style_offset, modulation, layer=layer, up=up, size=size)


# What torch.onnx.export needs to know about the operator.
TRANSLATION = {torch.ops.rs.refined_conv.default: _translate}
