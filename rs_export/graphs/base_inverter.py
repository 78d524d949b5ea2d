"""Role `base_inverter`: image uint8 [N, S, S, 3] -> w_plus float32 [N, num_ws, w_dim]."""

import torch
from torch import Tensor, nn

from rs_export.graphs.image import to_float
from rs_export.graphs.role import TracedRole, batch_only
from rs_export.trunk_names import name_trunk


class _BaseInverter(nn.Module):
    def __init__(self, inverter: nn.Module) -> None:
        super().__init__()
        self.inverter = inverter

    def forward(self, image: Tensor) -> Tensor:
        return self.inverter(to_float(image))


def base_inverter_role(inverter: nn.Module) -> TracedRole:
    """An inverter whose forward maps [N, 3, S, S] in [-1, 1] to w_plus; S = config.image_size."""
    size = inverter.config.image_size
    example = {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)}
    return TracedRole(
        "base_inverter",
        _BaseInverter(inverter),
        example,
        batch_only(example),
        ("w_plus",),
        name_trunk,
    )
