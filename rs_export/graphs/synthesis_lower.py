"""Role `synthesis_lower`: the synthesis up to the feature map that convolution K reads.

Inputs as role `synthesis`. Outputs, float32: feature [N, C, h, w]; rgb [N, 3, h', w'], the sum of
the toRGB layers so far.
"""

from torch import Tensor, nn

from rs_export.graphs.role import TracedRole
from rs_export.graphs.synthesis import token_inputs
from rs_train.generator import Generator, PackedTokens


class _SynthesisLower(nn.Module):
    def __init__(self, generator: Generator, split: int) -> None:
        super().__init__()
        self.synthesis = generator.synthesis
        self.split = split

    def forward(
        self, w_plus: Tensor, P: Tensor, Q: Tensor, style_offset: Tensor, modulation: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens = PackedTokens(P, Q, style_offset, modulation)
        return self.synthesis.lower(w_plus, tokens, split=self.split, noise_mode="const")


def synthesis_lower_role(generator: Generator, split: int) -> TracedRole:
    """The layers before convolution K = `split`, at least 1."""
    example, dynamic = token_inputs(generator.table)
    return TracedRole(
        "synthesis_lower", _SynthesisLower(generator, split), example, dynamic, ("feature", "rgb")
    )
