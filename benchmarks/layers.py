"""Every refined layer in each form, timed inside the whole network: the reason for the `cpu` form.

    python benchmarks/layers.py --size 1024 --json FILE

All graphs are compiled first and take turns with OpenVINO's counters on; a layer's time is the sum
over its nodes of the least time over the rounds. Weights are random.
"""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cpu_forms
from benchmarks.options import parser_for
from benchmarks.rounds import publish
from rs_export import forms
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.diagnostics.machine import machine_facts

FORMS = {
    "unrefined, constant weights": cpu_forms.plain_constant,
    "low_rank": forms.low_rank,
    "materialised": forms.materialised,
}
RANKS = (32, 288)
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def main() -> None:
    """Parse the options, time every layer, print the table and write the figures."""
    parser = parser_for(__doc__, rounds=6, threads=2)
    parser.add_argument("--size", type=int, default=1024)
    options = parser.parse_args()
    generator = cpu_forms.random_generator(options.size)
    model = cpu_forms.intermediate(generator)
    requests = {
        (name, precision): opened(cpu_forms.graph(model, form), hint, options.threads)
        for name, form in FORMS.items()
        for precision, hint in PRECISIONS.items()
    }
    inputs = {rank: cpu_forms.random_inputs(generator, 1, rank) for rank in (1, *RANKS)}
    layers = layer_times(requests, inputs, options.rounds)
    report = {
        "unit": "ms",
        "constant_up_to": forms.CONSTANT_UP_TO,
        "layers": layers,
        "cheaper_form": cheaper(generator.table, layers),
        "size": options.size,
        "threads": options.threads,
        "rounds": options.rounds,
        "weights": "random",
        "machine": machine_facts(),
    }
    publish(report, options.json)


def opened(graph: bytes, hint: str, threads: int) -> Any:
    """A request for a graph, with counters."""
    import openvino

    core = openvino.Core()
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "PERF_COUNT": "YES",
    }
    return core.compile_model(core.read_model(graph, b""), "CPU", config).create_infer_request()


def layer_times(
    requests: dict[tuple[str, str], Any], inputs: dict[int, dict[str, np.ndarray]], rounds: int
) -> dict[str, dict[str, float]]:
    """Milliseconds by layer, then by form, rank and precision.

    "others" has what belongs to no refined layer alone.
    """
    least: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(lambda: np.inf))
    for turn in range(rounds + 1):  # the first round compiles kernels for each rank
        print(f"round {turn} of {rounds}", file=sys.stderr)
        for (name, precision), request in requests.items():
            for rank in (1,) if name.startswith("unrefined") else RANKS:
                nodes = least[f"{name} {rank} {precision}"]
                request.infer(inputs[rank])
                for node in request.profiling_info:
                    spent = node.real_time.total_seconds() * 1000
                    nodes[node.node_name] = min(spent, nodes[node.node_name])
    layers: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for arm, nodes in least.items():
        for node, spent in nodes.items():
            layer = ".".join(node.split(".")[:2])
            own = layer if layer.startswith("b") and ".conv" in layer else "others"
            layers[own][arm] = round(layers[own][arm] + spent, 3)
    return layers


def cheaper(table: LayerTable, layers: dict[str, dict[str, float]]) -> dict[str, dict[str, str]]:
    """Which of the two refined forms took less time, by layer, rank and precision."""
    found: dict[str, dict[str, str]] = {}
    for layer in table.convs:
        own = layers[layer.name]
        found[layer.name] = {
            f"{rank} {precision}": min(
                ("low_rank", "materialised"), key=lambda form: own[f"{form} {rank} {precision}"]
            )
            for rank in RANKS
            for precision in PRECISIONS
        }
    return found


if __name__ == "__main__":
    main()
