"""Role `refiner`: what the first inversion missed, as packed tokens.

Inputs: image uint8 [N, S, S, 3], first_inversion float32 [N, 3, R, R] (clamped and area-pooled to
S inside). Outputs, float32: P [N, L, sum Cout], Q [N, L, sum Cin].
"""

import torch
from torch import Tensor, nn

from rs_export.graphs.image import to_float
from rs_export.graphs.role import TracedRole, batch_only
from rs_export.trunk_names import name_trunk


class _Refiner(nn.Module):
    def __init__(self, refiner: nn.Module) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, image: Tensor, first_inversion: Tensor) -> tuple[Tensor, Tensor]:
        P, Q = self.refiner(to_float(image), first_inversion)
        return P, Q


def refiner_role(refiner: nn.Module, resolution: int) -> TracedRole:
    """A refiner of images S x S = config.image_size for a generator of this resolution."""
    size = refiner.config.image_size
    example = {
        "image": torch.zeros(2, size, size, 3, dtype=torch.uint8),
        "first_inversion": torch.zeros(2, 3, resolution, resolution),
    }
    return TracedRole(
        "refiner", _Refiner(refiner), example, batch_only(example), ("P", "Q"), name_trunk
    )
