"""How a domain changes the generator: what is optimised, and how it becomes packed tokens."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.layers import LayerTable
from rs_train.generator import PackedTokens
from rs_train.generator.tokens import concatenate


@dataclass(frozen=True)
class TokenGroups:
    """The groups of a domain's token set, as `rs_runtime.contracts.tokens.TokenSet` names them."""

    P: dict[str, np.ndarray]
    Q: dict[str, np.ndarray]
    style_offset: dict[str, np.ndarray]
    modulation: dict[str, np.ndarray]


class Parameterisation(Protocol):
    """A family of changes to a frozen generator; an nn.Module whose parameters are optimised."""

    def packed(self, count: int) -> PackedTokens:
        """The change for `count` samples, with gradients."""

    def penalty(self) -> Tensor:
        """Size of the change, a scalar that is 0 for none and comparable between generators."""

    def groups(self) -> TokenGroups:
        """The change as arrays by layer name."""


def add_domain(image: PackedTokens, domain: PackedTokens) -> PackedTokens:
    """A picture's own residual plus a domain's change; dW add exactly, along L."""
    residual = concatenate(image, domain)
    return residual._replace(style_offset=domain.style_offset, modulation=domain.modulation)


class TokenParameterisation(nn.Module):
    """Low-rank residuals dW = (A * P~)^T (B * Q~) on every convolution.

    P~, Q~ and the scales A, B (one a row and layer) are optimised directly, without a network
    (RefineStyle, section 3.3 and Eq. 4). Rows lie packed in layer-table order.

    Args:
        table: Layer table of the generator.
        rank: L, rows a layer.
        scale_init: First value of A and B.
    """

    def __init__(self, table: LayerTable, rank: int, scale_init: float = 0.01) -> None:
        super().__init__()
        self.table = table
        outs = [layer.out_channels for layer in table.convs]
        ins = [layer.in_channels for layer in table.convs]
        self.P = nn.Parameter(torch.randn(rank, sum(outs)))
        self.Q = nn.Parameter(torch.randn(rank, sum(ins)))
        self.A = nn.Parameter(torch.full((rank, len(outs)), scale_init))
        self.B = nn.Parameter(torch.full((rank, len(ins)), scale_init))
        layers = torch.arange(len(outs))
        self.register_buffer("_layer_out", layers.repeat_interleave(torch.tensor(outs)), False)
        self.register_buffer("_layer_in", layers.repeat_interleave(torch.tensor(ins)), False)

    def factors(self) -> tuple[Tensor, Tensor]:
        """P [L, sum of Cout] and Q [L, sum of Cin] with A and B folded in."""
        return self.A[:, self._layer_out] * self.P, self.B[:, self._layer_in] * self.Q

    def packed(self, count: int) -> PackedTokens:
        """The same residual for `count` samples."""
        P, Q = self.factors()
        return PackedTokens(P=P.expand(count, -1, -1), Q=Q.expand(count, -1, -1))

    def penalty(self) -> Tensor:
        """Mean over layers of mean(dW^2) * Cin * k^2.

        1 / (Cin k^2) is the mean square of a freshly drawn kernel, so 1 means a residual as strong
        as the kernel that it refines. |dW|^2 = sum of (P P^T) * (Q Q^T) needs only L x L products.
        """
        P, Q = self.factors()
        total = torch.zeros((), device=P.device)
        for layer in self.table.convs:
            p, q = P[:, self.table.out_slices[layer.name]], Q[:, self.table.in_slices[layer.name]]
            square = ((p @ p.T) * (q @ q.T)).sum()
            total = total + square * layer.kernel**2 / layer.out_channels
        return total / len(self.table.convs)

    def groups(self) -> TokenGroups:
        """P and Q by layer."""
        P, Q = (factor.detach().cpu().numpy() for factor in self.factors())
        return TokenGroups(
            P={name: P[:, columns] for name, columns in self.table.out_slices.items()},
            Q={name: Q[:, columns] for name, columns in self.table.in_slices.items()},
            style_offset={},
            modulation={},
        )
