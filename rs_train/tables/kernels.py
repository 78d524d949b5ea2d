"""Spectra of dynamic kernels: how much of a kernel's range a low-rank residual opens (Figure 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rs_train.domains.codes import Codes, invert
from rs_train.generator import Generator
from rs_train.generator.synthesis import module_name
from rs_train.generator.tokens import unpack
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.page import Result
from rs_train.tables.recipe import second_stage, stem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What the figure measures, by the recipes' names.
STAGES = (
    *("generator", "base_inverter", "refiner"),
    f"table {second_stage('two_stage', 'style_transformer')}",
    "table no diversity loss",
)
_ABOUT = """\
Means over {count} held-out portraits. A kernel [Cout, Cin, k, k] is taken as a matrix
[Cout, Cin k²], the residual as [Cout, Cin] times k. Each refiner gives a layer eight tokens; the
effective rank says how many of them the residual really uses. Without the loss that keeps a layer's
tokens apart they grow alike, and the residual has rank 1. The demo's refiner was trained before
this was found."""
# Colours that stay apart for colour-blind eyes (Okabe and Ito).
_COLOURS = ("#d55e00", "#0072b2", "#009e73")


@dataclass(frozen=True)
class Spectrum:
    """Mean singular values of a layer's kernels over pictures, largest first.

    Each picture's kernel [Cout, Cin, k, k] is flattened to [Cout, Cin k^2]; the residual, the same
    at every tap, is taken as it is, [Cout, Cin].

    Attributes:
        model: Whose residual it is.
        layer: Name of the convolution.
        modulated: Of s W0, the kernel without residual.
        refined: Of s W0 + dW.
        residual: Of dW alone, times k for its taps, so that all three compare.
        effective_rank: exp of the entropy of the residual's normalised singular values, mean over
            pictures (Roy and Vetterli 2007).
    """

    model: str
    layer: str
    modulated: tuple[float, ...]
    refined: tuple[float, ...]
    residual: tuple[float, ...]
    effective_rank: float


@torch.no_grad()
def spectra(model: str, generator: Generator, codes: Codes) -> list[Spectrum]:
    """Spectra of every convolution over inverted pictures, in layer-table order.

    Args:
        model: What to call the model that made the codes.
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
                model,
                layer.name,
                _mean(torch.linalg.svdvals(modulated.flatten(2))),
                _mean(torch.linalg.svdvals(refined.flatten(2))),
                _mean(residual),
                _effective_rank(residual),
            )
        )
    return found


def draw(found: Sequence[Spectrum]) -> "Figure":
    """Draw a panel a layer: singular values of the first model's kernel, and of every residual."""
    from matplotlib.figure import Figure

    layers = list(dict.fromkeys(own.layer for own in found))
    columns = 4
    rows = -(-len(layers) // columns)
    figure = Figure(figsize=(12, 2.6 * rows), dpi=120, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, layer in zip(panels, layers, strict=False):
        of_layer = [own for own in found if own.layer == layer]
        first = of_layer[0].modulated
        _line(axes, first, "kernel s ⊙ W0", "#999999")
        for own, colour in zip(of_layer, _COLOURS, strict=False):
            _line(axes, own.residual, f"dW, {own.model}", colour)
        axes.set_yscale("log")
        axes.set_ylim(first[0] * 1e-4, first[0] * 2)
        axes.set_title(layer, fontsize=9)
        axes.grid(True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(layers) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.supxlabel("singular value, largest first", fontsize=10)
    return figure


def _line(axes: "Axes", values: Sequence[float], label: str, colour: str) -> None:
    axes.plot(
        range(1, len(values) + 1), values, color=colour, label=label, marker=".", markersize=3
    )


def _mean(values: Tensor) -> tuple[float, ...]:
    return tuple(values.mean(dim=0).tolist())


def _effective_rank(values: Tensor) -> float:
    share = values / values.sum(dim=1, keepdim=True)
    entropy = -torch.xlogy(share, share).sum(dim=1)
    return float(entropy.exp().mean())


def markdown(found: Sequence[Spectrum]) -> str:
    """The table for a page of results."""
    lines = [
        "| model | layer | largest of s ⊙ W0 | largest of dW | effective rank of dW "
        "| dW² / refined kernel² |",
        "|---|---|---|---|---|---|",
    ]
    for own in found:
        share = _square(own.residual) / _square(own.refined)
        lines.append(
            f"| {own.model} | {own.layer} | {own.modulated[0]:.3f} | {own.residual[0]:.3f} "
            f"| {own.effective_rank:.1f} | {share:.1%} |"
        )
    return "\n".join(lines) + "\n"


def _square(values: Sequence[float]) -> float:
    return sum(value**2 for value in values)


def page(laboratory: Laboratory) -> Result:
    """Measure the demo's refiner and two of the tables'."""
    photos = laboratory.held_out().image
    base = "style_transformer"
    refiners = {
        "demo": ("base_inverter", "refiner"),
        "table 4, full": (
            f"tables/{base}",
            f"tables/{stem(second_stage('two_stage', base))}",
        ),
        "no diversity loss": (f"tables/{base}", f"tables/{stem('no diversity loss')}"),
    }
    found = []
    for name, models in refiners.items():
        stages = (laboratory.model(model) for model in models)
        codes = invert(photos, laboratory.generator, *stages)
        found += spectra(name, laboratory.generator, codes)
    return Result(
        title="Figure 3: singular values of dynamic kernels",
        about=_ABOUT.format(count=len(photos)),
        rows=found,
        table=markdown(found),
        pictures={"spectra": draw(found)},
    )
