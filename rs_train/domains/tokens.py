"""A domain as token residuals, the change that swaps at run time."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.layers import LayerTable
from rs_train.domains.description import DomainDescription
from rs_train.domains.parameterisation import add_domain
from rs_train.domains.token_file import write_domain
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.synthesis import Synthesis


class TokenParameterisation(nn.Module):
    """Low-rank residuals dW = (A * P~)^T (B * Q~) on every convolution.

    P~, Q~ and the scales A, B (one a row and layer) are optimised directly, without a network
    (RefineStyle, section 3.3 and Eq. 4). Rows lie packed in layer-table order.

    Args:
        table: Layer table of the generator.
        rank: L, rows a layer.
        scale_init: First value of A and B.
    """

    suffix: ClassVar[str] = ".tokens"

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

    @torch.no_grad()
    def start_from(self, tokens: PackedTokens) -> None:
        """Begin with a picture's own residual in the first rows (RefineStyle, Fig. 8).

        Each row of P and Q is divided into a row of unit mean square and its scale. Layers that the
        picture's tokens leave alone, and the rows beyond them, keep their start.

        Args:
            tokens: P [1, L', sum of Cout] and Q [1, L', sum of Cin], L' at most the rank.

        Raises:
            IncompatibleError: The picture has no tokens, or more rows than the rank.
        """
        rows = 0 if tokens.P is None else tokens.P.shape[1]
        if not 0 < rows <= len(self.P):
            raise IncompatibleError(
                "the domain cannot start from the reference's tokens",
                found=f"{rows} tokens a layer, training.rank {len(self.P)}",
                expected="a refiner's tokens, and at least as large a rank",
                hint=f"add --refiner, and --set training.rank={max(rows, len(self.P))}",
            )
        for n, layer in enumerate(self.table.convs):
            outs, ins = self.table.out_slices[layer.name], self.table.in_slices[layer.name]
            _divide(tokens.P[0][:, outs], self.P[:rows, outs], self.A[:rows, n])
            _divide(tokens.Q[0][:, ins], self.Q[:rows, ins], self.B[:rows, n])

    def factors(self) -> tuple[Tensor, Tensor]:
        """P [L, sum of Cout] and Q [L, sum of Cin] with A and B folded in."""
        return self.A[:, self._layer_out] * self.P, self.B[:, self._layer_in] * self.Q

    def packed(self, count: int) -> PackedTokens:
        """The same residual for `count` samples."""
        P, Q = self.factors()
        return PackedTokens(P=P.expand(count, -1, -1), Q=Q.expand(count, -1, -1))

    def synthesize(self, synthesis: Synthesis, w_plus: Tensor, tokens: PackedTokens) -> Tensor:
        """Pictures of heads whose own residual and the domain's add."""
        return synthesis(w_plus, add_domain(tokens, self.packed(len(w_plus))), noise_mode="const")

    def penalty(self, synthesis: Synthesis) -> Tensor:
        """Size of dW."""
        P, Q = self.factors()
        return residual_size(P[None], Q[None], self.table)[0]

    def write(
        self, path: Path, generator: Generator, about: DomainDescription, record: dict[str, Any]
    ) -> None:
        """Write a token set, fp16."""
        P, Q = (factor.detach().cpu().numpy() for factor in self.factors())
        write_domain(
            path,
            generator,
            about,
            licence=record["licence"],
            dtype="F16",
            P={name: P[:, columns] for name, columns in self.table.out_slices.items()},
            Q={name: Q[:, columns] for name, columns in self.table.in_slices.items()},
        )


def residual_size(P: Tensor, Q: Tensor, table: LayerTable) -> Tensor:
    """Size of each residual as `Parameterisation.penalty` measures it.

    |dW|^2 = sum of (P P^T) * (Q Q^T) needs only L x L products.

    Args:
        P: [N, L, sum of Cout].
        Q: [N, L, sum of Cin].
        table: Layers of the generator.

    Returns:
        [N].
    """
    total = P.new_zeros(len(P))
    for layer in table.convs:
        p, q = P[..., table.out_slices[layer.name]], Q[..., table.in_slices[layer.name]]
        square = ((p @ p.mT) * (q @ q.mT)).sum(dim=(1, 2))
        total = total + square * layer.kernel**2 / layer.out_channels
    return total / len(table.convs)


def _divide(rows: Tensor, unit: Tensor, scale: Tensor) -> None:
    """Write rows [L, C] other than 0 as `unit` [L, C] times `scale` [L], in place."""
    size = rows.square().mean(dim=1).sqrt()
    is_given = size > 0
    scale.copy_(torch.where(is_given, size, scale))
    unit.copy_(torch.where(is_given[:, None], rows / size[:, None], unit))
