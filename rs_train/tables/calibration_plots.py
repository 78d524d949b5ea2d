"""Plots of encoders' styles beside the mapping network's."""

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from rs_train.domains.calibration import PairedLatents, std_ratios, styles_of
from rs_train.generator import Generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_LAYERS = 4
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw_styles(generator: Generator, latents: Mapping[str, PairedLatents]) -> "Figure":
    """Draw means and deviations of the styles' channels, mapped and found, of a few layers."""
    from matplotlib.figure import Figure

    convs = generator.table.convs
    picked = [convs[i] for i in np.linspace(0, len(convs) - 1, _SHOWN_LAYERS).round().astype(int)]
    figure = Figure(figsize=(12, 2.6 * len(latents)), dpi=110, layout="constrained")
    grid = figure.subplots(len(latents), _SHOWN_LAYERS, squeeze=False)
    for line, (name, pair), colour in zip(grid, latents.items(), cycle(_COLOURS), strict=False):
        mapped, found = (styles_of(generator, own) for own in (pair.mapped, pair.found))
        for axes, layer in zip(line, picked, strict=True):
            _draw_bands(axes, mapped[layer.name], found[layer.name], name, colour)
            axes.set_title(layer.name, fontsize=9)
    grid[0, 0].set_ylabel("style")
    for axes in grid[-1]:
        axes.set_xlabel("channels by mapped mean", fontsize=8)
    return figure


def _draw_bands(axes: "Axes", mapped: Tensor, found: Tensor, name: str, colour: str) -> None:
    order = mapped.mean(dim=0).argsort()
    channels = np.arange(len(order))
    for styles, label, shade in ((mapped, "mapped", "#555555"), (found, name, colour)):
        centre, width = (value[order].numpy() for value in (styles.mean(0), styles.std(0)))
        axes.fill_between(channels, centre - width, centre + width, color=shade, alpha=0.35, lw=0)
        axes.plot(channels, centre, color=shade, lw=0.8, label=label)
    axes.legend(fontsize=7, frameon=False)


def draw_ratios(generator: Generator, latents: Mapping[str, PairedLatents]) -> "Figure":
    """Draw the channels' ratios of standard deviations, a box a layer, for every encoder."""
    from matplotlib.figure import Figure

    names = [layer.name for layer in generator.table.layers]
    figure = Figure(figsize=(12, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    step = 0.8 / len(latents)
    for i, ((encoder, pair), colour) in enumerate(
        zip(latents.items(), cycle(_COLOURS), strict=False)
    ):
        mapped, found = (styles_of(generator, own) for own in (pair.mapped, pair.found))
        places = np.arange(len(names)) + (i - (len(latents) - 1) / 2) * step
        axes.boxplot(
            [std_ratios(mapped[name], found[name]).numpy() for name in names],
            positions=places,
            widths=0.8 * step,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.6},
            medianprops={"color": "black"},
        )
        axes.plot([], [], color=colour, lw=6, alpha=0.6, label=encoder)
    axes.axhline(1, color="#999999", lw=0.8)
    axes.set_xticks(np.arange(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("std of found / mapped styles")
    axes.legend(frameon=False, fontsize=8)
    return figure
