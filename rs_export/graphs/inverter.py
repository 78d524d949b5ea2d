"""Role `inverter`: image uint8 [N, S, S, 3] -> latent and tokens at once (one-stage).

Outputs, float32: w_plus [N, num_ws, w_dim], P [N, L, sum Cout], Q [N, L, sum Cin].
"""

import torch
from torch import Tensor, nn

from rs_export.graphs.image import to_float
from rs_export.graphs.role import TracedRole, batch_only
from rs_export.trunk_names import name_trunk


class _Inverter(nn.Module):
    def __init__(self, inverter: nn.Module) -> None:
        super().__init__()
        self.inverter = inverter

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w_plus, P, Q = self.inverter(to_float(image))
        return w_plus, P, Q


def inverter_role(inverter: nn.Module) -> TracedRole:
    """A one-stage inverter of images S x S = config.image_size."""
    size = inverter.config.image_size
    example = {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)}
    return TracedRole(
        "inverter",
        _Inverter(inverter),
        example,
        batch_only(example),
        ("w_plus", "P", "Q"),
        name_trunk,
    )
