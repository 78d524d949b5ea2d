"""Role `mapping`: z [N, z_dim] float32, truncation_psi [] float32 -> w [N, w_dim] float32."""

import torch
from torch import Tensor, nn

from rs_export.graphs.role import TracedRole
from rs_train.generator import Generator


class _Mapping(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor, truncation_psi: Tensor) -> Tensor:
        return self.generator.mapping(z, truncation_psi)


def mapping_role(generator: Generator) -> TracedRole:
    """The mapping network with latent_avg and truncation inside."""
    example = {"z": torch.randn(2, generator.config.z_dim), "truncation_psi": torch.tensor(0.7)}
    return TracedRole("mapping", _Mapping(generator), example, {"z": {0: "N"}}, ("w",))
