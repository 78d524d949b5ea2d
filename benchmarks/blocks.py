"""What each block of the published synthesis costs: networks that end at each size, one after the
other.

    python benchmarks/blocks.py --json FILE

A block is an up layer, a layer that keeps the size, and toRGB; the difference of two networks is
the time of the block between them. `direct_gmacs` counts the multiply-adds of direct convolutions a
second, for the native engine and for OpenVINO; `multiplied_gmacs` those that the native engine
really has to do in Winograd form. `matrix_peak_gmacs` is what a product of two matrices reaches in
OpenVINO: no direct convolution is faster, and no Winograd form multiplies faster.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cpu_forms
from benchmarks.options import parser_for
from benchmarks.rounds import Arm, publish, take_turns
from benchmarks.synthesis import RANK, runner
from benchmarks.winograd import MATRIX, matrices
from rs_export import forms
from rs_runtime.contracts.layers import Layer, LayerTable
from rs_runtime.diagnostics.machine import machine_facts

SIZES = (64, 128, 256, 512, 1024)
PROVIDERS = ("native", "openvino")
# Multiplications of Winograd's form for each of a direct convolution's, see algorithms.h; layers
# that read smaller maps are computed directly.
_KEEP, _UP = 36 / 16 / 9, 81 / 16 / 9
_WINOGRAD_FROM = 32


def main() -> None:
    """Parse the options, time every network, print and write the figures."""
    options = parser_for(__doc__, rounds=7, threads=2).parse_args()
    arms: dict[str, Arm] = {"matrix": matrices(options.threads)}
    for size in SIZES:
        generator = cpu_forms.random_generator(size)
        graph = cpu_forms.graph(cpu_forms.intermediate(generator), forms.cpu)
        feeds = cpu_forms.random_inputs(generator, 1, RANK)
        for provider in PROVIDERS:
            arms[f"{provider} {size}"] = runner(provider, graph, feeds, options.threads)
    seconds = take_turns(arms, options.rounds, lambda line: print(line, file=sys.stderr))
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    report = {
        "blocks": blocks(generator.table, median),
        "matrix_peak_gmacs": round(MATRIX**3 / min(seconds["matrix"]) / 1e9, 1),
        "seconds": seconds,
        "threads": options.threads,
        "machine": machine_facts(),
    }
    publish(report, options.json)


def blocks(table: LayerTable, median: dict[str, float]) -> dict[str, dict[str, float]]:
    """Time and rates of every block, the first one from 4 x 4 up to the smallest network's size."""
    found = {}
    for before, size in zip((0, *SIZES), SIZES, strict=False):
        layers = [layer for layer in table.convs if before < layer.resolution <= size]
        direct = sum(macs(layer) for layer in layers)
        multiplied = sum(macs(layer) * share(layer) for layer in layers)
        own = {"gmacs": round(direct / 1e9, 2)}
        for provider in PROVIDERS:
            spent = median[f"{provider} {size}"] - median.get(f"{provider} {before}", 0)
            own[f"{provider}_ms"] = round(1000 * spent, 2)
            own[f"{provider}_direct_gmacs"] = round(direct / spent / 1e9, 1)
            if provider == "native":
                own["native_multiplied_gmacs"] = round(multiplied / spent / 1e9, 1)
        found[f"{before or 4} to {size}"] = own
    return found


def macs(layer: Layer) -> int:
    """Multiply-adds of a direct convolution, in an up layer of the transposed one."""
    return 9 * layer.in_channels * layer.out_channels * (layer.resolution // layer.up) ** 2


def share(layer: Layer) -> float:
    """How many of them the native engine does."""
    if layer.resolution // layer.up < _WINOGRAD_FROM:
        return 1
    return _UP if layer.up == 2 else _KEEP


if __name__ == "__main__":
    main()
