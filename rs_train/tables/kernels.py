"""Spectra of dynamic kernels: how much of a kernel's range a low-rank residual opens (Figure 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rs_train.domains.codes import Codes
from rs_train.generator import Generator
from rs_train.generator.synthesis import module_name
from rs_train.generator.tokens import unpack

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Spectrum:
    """Mean singular values of a layer's kernels over pictures, largest first.

    Each picture's kernel [Cout, Cin, k, k] is flattened to [Cout, Cin k^2]; the residual, the same
    at every tap, is taken as it is, [Cout, Cin].

    Attributes:
        layer: Name of the convolution.
        modulated: Of s W0, the kernel without residual.
        refined: Of s W0 + dW.
        residual: Of dW alone, times k for its taps, so that all three compare.
        effective_rank: exp of the entropy of the residual's normalised singular values, mean over
            pictures (Roy and Vetterli 2007).
    """

    layer: str
    modulated: tuple[float, ...]
    refined: tuple[float, ...]
    residual: tuple[float, ...]
    effective_rank: float


@torch.no_grad()
def spectra(generator: Generator, codes: Codes) -> list[Spectrum]:
    """Spectra of every convolution over inverted pictures, in layer-table order.

    Args:
        generator: The generator.
        codes: Latents and tokens of the pictures; tokens of rank 1 or more.
    """
    tokens = unpack(codes.tokens, generator.table)
    found = []
    for layer in generator.table.convs:
        module = generator.synthesis.layers[module_name(layer)]
        style = module.affine(codes.w_plus[:, layer.w_index])
        modulated = style[:, None, :, None, None] * (module.weight * module.weight_gain)
        own = tokens[layer.name]
        dW = own.P.transpose(1, 2) @ own.Q
        refined = modulated + dW[..., None, None]
        residual = torch.linalg.svdvals(dW) * layer.kernel
        found.append(
            Spectrum(
                layer.name,
                _mean(torch.linalg.svdvals(modulated.flatten(2))),
                _mean(torch.linalg.svdvals(refined.flatten(2))),
                _mean(residual),
                _effective_rank(residual),
            )
        )
    return found


def draw(found: Sequence[Spectrum]) -> "Figure":
    """Draw a panel a layer: singular values of the kernel, of the refined one and of dW."""
    from matplotlib.figure import Figure

    columns = 4
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(12, 2.6 * rows), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, own in zip(panels, found, strict=False):
        for values, label, colour, style in (
            (own.modulated, "s ⊙ W0", "#0072b2", "-"),
            (own.refined, "refined", "#d55e00", "--"),
            (own.residual, "residual dW", "#009e73", "-"),
        ):
            axes.plot(range(1, len(values) + 1), values, style, color=colour, label=label)
        axes.set_yscale("log")
        axes.set_ylim(own.refined[0] * 1e-4, own.refined[0] * 2)
        axes.set_title(f"{own.layer}: effective rank {own.effective_rank:.1f}", fontsize=9)
        axes.grid(True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(panels)[len(found) :]:
        axes.set_axis_off()
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("singular value, largest first")
    return figure


def _mean(values: Tensor) -> tuple[float, ...]:
    return tuple(values.mean(dim=0).tolist())


def _effective_rank(values: Tensor) -> float:
    share = values / values.sum(dim=1, keepdim=True)
    entropy = -torch.xlogy(share, share).sum(dim=1)
    return float(entropy.exp().mean())


def markdown(found: Sequence[Spectrum]) -> str:
    """The table for a page of results."""
    lines = [
        "| layer | largest of s ⊙ W0 | largest of dW | effective rank of dW | dW's share of the "
        "refined kernel |",
        "|---|---|---|---|---|",
    ]
    for own in found:
        share = _square(own.residual) / _square(own.refined)
        lines.append(
            f"| {own.layer} | {own.modulated[0]:.3f} | {own.residual[0]:.3f} "
            f"| {own.effective_rank:.1f} | {share:.1%} |"
        )
    return "\n".join(lines) + "\n"


def _square(values: Sequence[float]) -> float:
    return sum(value**2 for value in values)
