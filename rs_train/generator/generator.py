"""The generator: mapping, synthesis, truncation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import fingerprint_synthesis
from rs_train.generator.mapping import Mapping
from rs_train.generator.synthesis import NoiseMode, Synthesis
from rs_train.generator.tokens import PackedTokens


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Shape of a generator.

    Attributes:
        channels: Feature channels at 4, 8, 16, ... pixels; their number sets the output size.
        z_dim: Length of z.
        w_dim: Length of w.
        mapping_layers: Layers of the mapping network (8 in FFHQ checkpoints, 2 in some others).
        mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
    """

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01

    @property
    def resolution(self) -> int:
        """Output size in pixels."""
        return 2 ** (len(self.channels) + 1)

    @property
    def table(self) -> LayerTable:
        """The layer table that these channels give."""
        return LayerTable.from_channels(
            {2 ** (i + 2): c for i, c in enumerate(self.channels)}, self.w_dim
        )


class Generator(nn.Module):
    """StyleGAN2 generator whose convolutions take token residuals.

    Weights are stored N(0, 1) with the gain 1/sqrt(Cin k^2) applied at run time, so that one unit
    of dW means the same in every generator.
    """

    kind: ClassVar[str] = "generator"

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.table = config.table
        self.mapping_network = Mapping(
            config.z_dim, config.w_dim, config.mapping_layers, config.mapping_lr_multiplier
        )
        self.synthesis = Synthesis(self.table)
        self.register_buffer("latent_avg", torch.zeros(config.w_dim))

    @property
    def num_ws(self) -> int:
        """Rows of w_plus."""
        return self.table.num_ws

    def mapping(self, z: Tensor, truncation_psi: float | Tensor = 1.0) -> Tensor:
        """Map z [N, z_dim] to w [N, w_dim], pulled towards latent_avg by truncation_psi."""
        return self.latent_avg + truncation_psi * (self.mapping_network(z) - self.latent_avg)

    def broadcast(self, w: Tensor) -> Tensor:
        """Repeat w [N, w_dim] over the rows of w_plus [N, num_ws, w_dim]."""
        return w[:, None].expand(-1, self.num_ws, -1)

    def forward(
        self,
        z: Tensor,
        tokens: PackedTokens | None = None,
        *,
        truncation_psi: float = 1.0,
        noise_mode: NoiseMode = "const",
    ) -> Tensor:
        """Synthesise unclamped images [N, 3, R, R] from z [N, z_dim]."""
        w_plus = self.broadcast(self.mapping(z, truncation_psi))
        return self.synthesis(w_plus, tokens, noise_mode=noise_mode)

    @torch.no_grad()
    def update_latent_avg(self, samples: int = 10_000, seed: int = 0) -> None:
        """Set latent_avg to the mean of mapped z, drawn from their own seeded stream."""
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, self.config.z_dim, generator=rng)
        device = self.latent_avg.device
        total = sum(self.mapping_network(part.to(device)).sum(0) for part in z.split(1000))
        self.latent_avg.copy_(total / samples)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical fp32 synthesis tensors; token sets name it."""
        state = self.synthesis.state_dict()
        return fingerprint_synthesis({k: v.float().cpu().numpy() for k, v in state.items()})
