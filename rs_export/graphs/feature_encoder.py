"""Role `feature_encoder`: image uint8 [N, S, S, 3] -> latent and feature map.

Outputs, float32: w_plus [N, num_ws, w_dim]; feature [N, C, h, w], in the place of the map that the
synthesis has at its split.
"""

import torch
from torch import Tensor, nn

from rs_export.graphs.image import to_float
from rs_export.graphs.role import TracedRole, batch_only


class _FeatureEncoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        w_plus, feature = self.encoder(to_float(image))
        return w_plus, feature


def feature_encoder_role(encoder: nn.Module) -> TracedRole:
    """An encoder of images S x S = config.image_size."""
    size = encoder.config.image_size
    example = {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)}
    return TracedRole(
        "feature_encoder",
        _FeatureEncoder(encoder),
        example,
        batch_only(example),
        ("w_plus", "feature"),
    )
