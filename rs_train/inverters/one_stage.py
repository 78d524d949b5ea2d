"""RefineStyle's one-stage inverter: w_plus and the kernel residuals from one encoder.

Xia et al., arXiv 2410.06104. A StyleTransformer, and beside its last decoder layer one grouped
block with which the residual's learned tokens read the same fine map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from rs_train.inverters.attention import GroupedDecoderLayer
from rs_train.inverters.pooling import middle_rows
from rs_train.inverters.refine import FFHQ_CONVS, ResidualTokens, check_refined
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig


class Codes(NamedTuple):
    """A whole inversion: w_plus [N, num_ws, w_dim], packed P [N, L, ΣCout] and Q [N, L, ΣCin]."""

    w_plus: Tensor
    P: Tensor
    Q: Tensor


@dataclass(frozen=True)
class OneStageConfig(StyleTransformerConfig):
    """Sizes of a one-stage inverter; the defaults are the published ones for 1024² faces.

    Attributes:
        conv_channels: (Cin, Cout) of *every* convolution of the synthesis, in layer-table order.
        refined_layers: Nr; the last Nr convolutions are refined, P and Q of the others are zero.
        rank: L, tokens a layer and side.
        token_scale_init: first value of A and of B (Eq. 4).
    """

    conv_channels: tuple[tuple[int, int], ...] = FFHQ_CONVS
    refined_layers: int = 10
    rank: int = 32
    token_scale_init: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_refined(self.refined_layers, self.conv_channels)


class OneStage(nn.Module):
    """One-stage inverter: image in, w_plus and packed P and Q out."""

    kind: ClassVar[str] = "one_stage"

    def __init__(self, config: OneStageConfig) -> None:
        super().__init__()
        self.config = config
        self.base = StyleTransformer(config)
        self.block = GroupedDecoderLayer(config.w_dim, config.heads)
        self.residual = ResidualTokens(
            config.conv_channels,
            config.refined_layers,
            config.rank,
            config.w_dim,
            config.token_scale_init,
        )

    def map_query(self, mapping: Callable[[Tensor], Tensor]) -> Tensor:
        """Queries of the base, see `StyleTransformer.map_query`."""
        return self.base.map_query(mapping)

    def bake(self, mapping: Callable[[Tensor], Tensor]) -> None:
        """Store mapping(z) as the query of later calls."""
        self.base.bake(mapping)

    def forward(self, image: Tensor, query: Tensor | None = None) -> Codes:
        """Invert images.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            query: [1, num_ws, w_dim], the baked one by default.

        Returns:
            w_plus and, over all convolutions in layer-table order, P and Q.
        """
        query = self.base.query if query is None else query
        features = self.base.pyramid(middle_rows(image, self.config.image_height))
        w_plus = self.base.offsets(features, query) + self.base.latent_avg
        return Codes(w_plus, *self.residual(self.block(self.residual.tokens, features.fine)))
