"""Role `synthesis`: w_plus and packed tokens -> image.

Inputs, float32: w_plus [N, num_ws, w_dim], P [N, L, sum Cout], Q [N, L, sum Cin],
style_offset [N, sum Cin with toRGB], modulation [N, sum Cin]. Outputs: image uint8 [N, R, R, 3],
image_float [N, 3, R, R]. N and L are dynamic and at least 1 (a product over no token leaves memory
unset in ONNX Runtime 1.31); the noise is the stored one, folded into constants.
"""

from functools import partial

import torch
from torch import Tensor, nn

from rs_export.constant_names import name_constants
from rs_export.graphs.image import to_uint8
from rs_export.graphs.role import TracedRole, batch_only
from rs_runtime.contracts.layers import LayerTable
from rs_train.generator import Generator, PackedTokens


class _Synthesis(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis

    def forward(
        self, w_plus: Tensor, P: Tensor, Q: Tensor, style_offset: Tensor, modulation: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens = PackedTokens(P, Q, style_offset, modulation)
        image = self.synthesis(w_plus, tokens, noise_mode="const")
        return to_uint8(image), image


def synthesis_role(generator: Generator) -> TracedRole:
    """The synthesis network with tokens as inputs."""
    example, dynamic = token_inputs(generator.table)
    torgbs = [layer.name for layer in generator.table.torgbs]
    return TracedRole(
        "synthesis",
        _Synthesis(generator),
        example,
        dynamic,
        ("image", "image_float"),
        partial(name_constants, torgbs=torgbs),
    )


def token_inputs(table: LayerTable) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
    """Inputs to trace a synthesis with, and their dynamic axes."""
    example = neutral_inputs(table, batch=2, rank=2)
    dynamic = batch_only(example)
    dynamic["P"][1] = dynamic["Q"][1] = "L"
    return example, dynamic


def neutral_inputs(table: LayerTable, batch: int, rank: int) -> dict[str, Tensor]:
    """Inputs of plain StyleGAN2 at w = 0: dW = 0, style offset 0, modulation 1."""
    return {
        "w_plus": torch.zeros(batch, table.num_ws, table.w_dim),
        "P": torch.zeros(batch, rank, table.sum_out),
        "Q": torch.zeros(batch, rank, table.sum_in),
        "style_offset": torch.zeros(batch, table.style_channels_with_torgb),
        "modulation": torch.ones(batch, table.sum_in),
    }
