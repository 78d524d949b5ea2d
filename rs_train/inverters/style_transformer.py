"""StyleTransformer, the base inverter: an image becomes one w per synthesis input.

Hu et al., "Style Transformer for Image Inversion and Editing", CVPR 2022. Learned z go through the
generator's own mapping network; the resulting queries read the coarse, the medium and the fine map
in turn and leave as offsets from ``latent_avg``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_train.inverters.attention import DecoderLayer
from rs_train.inverters.pooling import middle_rows
from rs_train.inverters.trunk import Channels, FeaturePyramid, Pyramid, check_sides


@dataclass(frozen=True)
class StyleTransformerConfig:
    """Sizes of a StyleTransformer; the defaults are the published ones for 1024² faces.

    Attributes:
        image_size: side S of the image the encoder reads, a multiple of 16.
        image_height: rows of the square that the encoder reads, those in the middle; a multiple of
            16, None for all.
        num_ws: rows of w_plus.
        z_dim: width of z.
        w_dim: width of w and of the attention.
        channels: widths of the trunk's stages; the last is the attention's width, hence w_dim.
        heads: attention heads.
        spare_queries: queries beyond the rows, which the others attend to and which are then left
            out; the released encoder of cars has 18 queries for 16 rows.
    """

    image_size: int = 256
    image_height: int | None = None
    num_ws: int = 18
    z_dim: int = 512
    w_dim: int = 512
    channels: Channels = (64, 128, 256, 512)
    heads: int = 4
    spare_queries: int = 0

    def __post_init__(self) -> None:
        if self.channels[-1] != self.w_dim:
            raise ValueError(
                f"the last trunk width ({self.channels[-1]}) must equal w_dim ({self.w_dim})"
            )
        if self.w_dim % self.heads:
            raise ValueError(f"w_dim {self.w_dim} is not divisible into {self.heads} heads")
        check_sides(self.image_size, self.image_height)


class StyleTransformer(nn.Module):
    """Base inverter.

    ``z`` is what training learns; ``query`` is mapping(z), constant once training has ended, and
    kept as a buffer so that neither export nor use of the model needs the generator's mapping.
    """

    kind: ClassVar[str] = "style_transformer"

    def __init__(self, config: StyleTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.pyramid = FeaturePyramid(3, config.channels)
        self.layers = nn.ModuleList(DecoderLayer(config.w_dim, config.heads) for _ in range(3))
        queries = config.num_ws + config.spare_queries
        self.z = nn.Parameter(torch.randn(1, queries, config.z_dim))
        self.register_buffer("query", torch.zeros(1, queries, config.w_dim))
        self.register_buffer("latent_avg", torch.zeros(config.w_dim))

    def start_from(self, mean: Tensor, std: Tensor) -> None:
        """Make the untrained output follow the generator's W: mean and spread of w, each [w_dim].

        The last norm emits unit variance; scaled by the spread of w, the first guesses are
        plausible heads instead of points far outside W.
        """
        with torch.no_grad():
            self.latent_avg.copy_(mean)
            self.layers[-1].norm_output.weight.copy_(std)

    def map_query(self, mapping: Callable[[Tensor], Tensor]) -> Tensor:
        """Queries [1, Q, w_dim] from z, differentiable; ``mapping`` takes [M, z_dim]."""
        return mapping(self.z[0]).unsqueeze(0)

    def bake(self, mapping: Callable[[Tensor], Tensor]) -> None:
        """Store mapping(z) as the query of later calls."""
        with torch.no_grad():
            self.query.copy_(self.map_query(mapping))

    def offsets(self, features: Pyramid, query: Tensor) -> Tensor:
        """Read the maps with ``query`` [1 or N, Q, w_dim]; offsets [N, num_ws, w_dim]."""
        tokens = query
        for layer, level in zip(self.layers, features, strict=True):
            tokens = layer(tokens, level)
        return tokens[:, : self.config.num_ws] if self.config.spare_queries else tokens

    def forward(self, image: Tensor, query: Tensor | None = None) -> Tensor:
        """Invert images.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            query: [1, Q, w_dim], the baked one by default.

        Returns:
            w_plus [N, num_ws, w_dim].
        """
        query = self.query if query is None else query
        features = self.pyramid(middle_rows(image, self.config.image_height))
        return self.offsets(features, query) + self.latent_avg
