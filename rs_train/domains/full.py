"""A domain as a whole generator: fine-tuning, the baseline that token residuals are measured by."""

import copy
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rs_train.checkpoint import save_model
from rs_train.domains.description import DomainDescription
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.synthesis import Synthesis, module_name


class FullParameterisation(nn.Module):
    """A trainable copy of the synthesis network; the mapping network stays as it is.

    Without toRGB it trains what StyleGAN-NADA does (Gal et al. 2022: constant and convolutions,
    their styles included), with toRGB what GOGA does (Zhang et al. 2022: every synthesis block).

    Args:
        synthesis: The network to start from.
        torgb: Whether the toRGB layers learn as well.
    """

    suffix: ClassVar[str] = ".safetensors"

    def __init__(self, synthesis: Synthesis, *, torgb: bool) -> None:
        super().__init__()
        self.synthesis = copy.deepcopy(synthesis).requires_grad_(True)
        for layer in synthesis.table.torgbs:
            self.synthesis.layers[module_name(layer)].requires_grad_(torgb)

    def synthesize(self, synthesis: Synthesis, w_plus: Tensor, tokens: PackedTokens) -> Tensor:
        """Pictures by the copy; the heads' own residuals apply to its kernels."""
        return self.synthesis(w_plus, tokens, noise_mode="const")

    def penalty(self, synthesis: Synthesis) -> Tensor:
        """Size of the kernels' change; they are stored without their gain 1/sqrt(Cin k^2)."""
        names = [module_name(layer) for layer in synthesis.table.convs]
        changes = [self.synthesis.layers[n].weight - synthesis.layers[n].weight for n in names]
        return torch.stack([change.square().mean() for change in changes]).mean()

    def state(self) -> dict[str, Tensor]:
        """State of the synthesis network that is written."""
        return self.synthesis.state_dict()

    def write(
        self, path: Path, generator: Generator, about: DomainDescription, record: dict[str, Any]
    ) -> None:
        """Write a generator checkpoint, whose record names the domain and the generator before."""
        adapted = copy.deepcopy(generator)
        adapted.synthesis.load_state_dict(self.state())
        adapted_from = {
            "domain": about.name,
            "source": about.source,
            "adapted_from": generator.fingerprint(),
        }
        save_model(path, adapted, record | adapted_from)
