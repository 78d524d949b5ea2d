"""Draw a result of `synthesis.py` or `layers.py` as bars.

python benchmarks/plot.py benchmarks/results/layers-2026-11-20.json --out layers.png
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np


def main() -> None:
    """Read one file of results and write one picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--precision", default="fp32", help="of a result of layers.py")
    options = parser.parse_args()
    report = json.loads(options.results.read_text(encoding="utf-8"))
    layered = "layers" in report
    figure = layer_bars(report, options.precision) if layered else arm_bars(report)
    figure.savefig(options.out, dpi=150, bbox_inches="tight")


def arm_bars(report: dict[str, Any]) -> plt.Figure:
    """Median seconds of every arm of `synthesis.py`."""
    arms = sorted(report["median_s"].items(), key=lambda item: -item[1])
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(arms) + 1))
    bars = axes.barh([name for name, _ in arms], [seconds for _, seconds in arms])
    axes.bar_label(bars, fmt="%.3f")
    axes.set_xlabel(f"s, {report['size']} x {report['size']}, {report['threads']} threads")
    return figure


def layer_bars(report: dict[str, Any], precision: str) -> plt.Figure:
    """Milliseconds of every layer by form, of `layers.py`."""
    layers = [name for name in report["layers"] if name != "others"]
    forms = [key for key in report["layers"][layers[0]] if key.endswith(precision)]
    figure, axes = plt.subplots(figsize=(12, 4))
    place = np.arange(len(layers))
    for n, form in enumerate(forms):
        height = [report["layers"][layer][form] for layer in layers]
        axes.bar(place + n / (len(forms) + 1), height, 1 / (len(forms) + 1), label=form)
    axes.set_xticks(place + 0.4, layers, rotation=45, ha="right")
    axes.set_yscale("log")
    axes.set_ylabel(report["unit"])
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
