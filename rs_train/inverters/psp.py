"""pSp, a base inverter: an image becomes one w per synthesis input, each by a head of its own.

Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation", CVPR
2021. The first three rows are read from the coarse map, the next four from the medium, the others
from the fine one; all are offsets from ``latent_avg``.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_train.inverters.pooling import middle_rows
from rs_train.inverters.style_head import StyleHeadsConfig, pyramid_heads, read_rows
from rs_train.inverters.trunk import FeaturePyramid


class PSP(nn.Module):
    """Base inverter (pSp's GradualStyleEncoder and the average it adds)."""

    kind: ClassVar[str] = "psp"

    def __init__(self, config: StyleHeadsConfig) -> None:
        super().__init__()
        self.config = config
        self.pyramid = FeaturePyramid(3, config.channels)
        self.heads = pyramid_heads(config)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def rows(self, image: Tensor) -> Tensor:
        """What the heads say of images [N, 3, S, S] in [-1, 1]: [N, num_ws, w_dim]."""
        features = self.pyramid(middle_rows(image, self.config.image_height))
        return read_rows(self.heads, features)

    def forward(self, image: Tensor) -> Tensor:
        """Invert images [N, 3, S, S] in [-1, 1] to w_plus [N, num_ws, w_dim]."""
        return self.rows(image) + self.latent_avg
