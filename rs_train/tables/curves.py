"""Curves of the demo's trainings, drawn from the logs of their runs."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.contracts.errors import MalformedFileError, UsageError
from rs_runtime.contracts.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[list[int], list[float]]

# Colours that stay apart for colour-blind eyes (Okabe and Ito).
_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#999999"
_SMOOTHING = 0.8


def read_metrics(run: Path) -> list[dict[str, float]]:
    """Read the metrics.jsonl of a run; empty when there is none.

    Raises:
        MalformedFileError: A line is not JSON.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        raise MalformedFileError(f"{path}: {error}") from error


def points(metrics: Sequence[Mapping[str, float]], name: str, *, after: int = 0) -> Points:
    """Steps and values of one figure, where it was logged.

    Args:
        metrics: Lines of a log.
        name: The figure.
        after: Steps that were spent before this run.
    """
    lines = [line for line in metrics if name in line]
    return [after + int(line["step"]) for line in lines], [line[name] for line in lines]


def smooth(values: Sequence[float]) -> list[float]:
    """Exponential average that starts at the first value's own scale (bias-corrected)."""
    result, total, weight = [], 0.0, 0.0
    for value in values:
        total = _SMOOTHING * total + (1 - _SMOOTHING) * value
        weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        result.append(total / weight)
    return result


def draw(runs: Path) -> "Figure":
    """Draw validation errors of the inverters and losses of the generator.

    The refiner and the control begin where the base inverter ended, so that equal places on the
    axis are equal budgets.

    Args:
        runs: Folder with base_inverter/, control/, refiner/ and generator/; missing ones are left
            out.

    Raises:
        UsageError: None of them has a log.
    """
    from matplotlib.figure import Figure

    names = ("base_inverter", "control", "refiner", "generator")
    logs = {name: read_metrics(runs / name) for name in names}
    if not any(logs.values()):
        raise UsageError(f"{runs}: holds no logs of runs", expected=", ".join(names))
    figure = Figure(figsize=(11, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_inverters(left, logs)
    _draw_generator(right, logs["generator"], _growth(runs / "generator"))
    return figure


def draw_systems(runs: Mapping[str, Path]) -> "Figure":
    """Draw validation errors of inverters that were trained at the same budget.

    Args:
        runs: Folder of a run by the name of its system; those without a log are left out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, run in runs.items():
        log = read_metrics(run)
        is_second = any("validation_refined" in line for line in log)
        steps, values = points(log, "validation_refined" if is_second else "validation_base")
        if steps:
            axes.plot(steps, values, marker=".", label=f"{name}: {values[-1]:.4f}")
    _logarithmic(axes)
    axes.set_title("Error on validation portraits")
    _finish(axes)
    return figure


def write_curves(runs: Path, out: Path) -> Path:
    """Write `draw(runs)` as a PNG; makes its folder."""
    buffer = io.BytesIO()
    # No software name in the file, so that equal logs give equal bytes.
    draw(runs).savefig(buffer, format="png", metadata={"Software": None})
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, buffer.getvalue())
    return out


def _draw_inverters(axes: "Axes", logs: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    budget = int(logs["base_inverter"][-1]["step"]) if logs["base_inverter"] else 0
    curves = (
        ("base_inverter", "validation_base", 0, "base inverter", _BLUE, "-"),
        ("control", "validation_base", budget, "base, trained on (control)", _GREY, "--"),
        ("refiner", "validation_refined", budget, "two-stage", _ORANGE, "-"),
    )
    for run, figure, after, label, colour, style in curves:
        steps, values = points(logs[run], figure, after=after)
        if steps:
            label = f"{label}: {values[-1]:.4f}"
            axes.plot(steps, values, style, color=colour, marker=".", label=label)
    if budget and (logs["control"] or logs["refiner"]):
        axes.axvline(budget, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_title("Inverters: error on held-out photos")
    _logarithmic(axes)
    _finish(axes)


def _logarithmic(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_ylabel("mean squared error on [−1, 1]")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_generator(
    axes: "Axes", log: Sequence[Mapping[str, float]], growth: Sequence[Sequence[int]]
) -> None:
    for name, label, colour in (
        ("g_loss", "generator", _GREEN),
        ("d_loss", "discriminator", _BLUE),
    ):
        steps, values = points(log, name)
        if steps:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.7)
            axes.plot(steps, smooth(values), color=colour, label=label)
    for size, first in growth:
        axes.axvline(first, color=_GREY, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{size}²",
            (first, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -12),
            textcoords="offset points",
            color="#555555",
        )
    axes.set_title("Generator: adversarial losses")
    axes.set_ylabel("non-saturating loss")
    _finish(axes)


def _finish(axes: "Axes") -> None:
    axes.set_xlabel("training steps")
    axes.grid(True, which="both", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)


def _growth(run: Path) -> list[list[int]]:
    """Pairs (size, first step) of the generator's growth, from its record when it is finished."""
    path = run / "record.json"
    if not path.is_file():
        return []
    record: dict[str, Any] = json.loads(path.read_text())
    return record["config"]["training"]["growth"]
