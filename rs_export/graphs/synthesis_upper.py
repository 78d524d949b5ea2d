"""Role `synthesis_upper`: the synthesis from the feature map that convolution K reads.

Inputs: feature and rgb as role `synthesis_lower` gives them, the others as role `synthesis`, whose
outputs it has.
"""

import torch
from torch import Tensor, nn

from rs_export.graphs.image import to_uint8
from rs_export.graphs.role import TracedRole, batch_only
from rs_export.graphs.synthesis import token_inputs
from rs_train.generator import Generator, PackedTokens


class _SynthesisUpper(nn.Module):
    def __init__(self, generator: Generator, split: int) -> None:
        super().__init__()
        self.synthesis = generator.synthesis
        self.split = split

    def forward(
        self,
        feature: Tensor,
        rgb: Tensor,
        w_plus: Tensor,
        P: Tensor,
        Q: Tensor,
        style_offset: Tensor,
        modulation: Tensor,
    ) -> tuple[Tensor, Tensor]:
        tokens = PackedTokens(P, Q, style_offset, modulation)
        image = self.synthesis.upper(
            feature, rgb, w_plus, tokens, split=self.split, noise_mode="const"
        )
        return to_uint8(image), image


def synthesis_upper_role(generator: Generator, split: int) -> TracedRole:
    """Convolution K = `split`, at least 1, and the layers after it."""
    table = generator.table
    layer, before = table.convs[split], table.before(split)
    side = layer.resolution // layer.up
    drawn = max(own.resolution for own in before if own.kind == "torgb")
    maps = {
        "feature": torch.zeros(2, layer.in_channels, side, side),
        "rgb": torch.zeros(2, 3, drawn, drawn),
    }
    example, dynamic = token_inputs(table)
    return TracedRole(
        "synthesis_upper",
        _SynthesisUpper(generator, split),
        maps | example,
        batch_only(maps) | dynamic,
        ("image", "image_float"),
    )
