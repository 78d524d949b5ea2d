"""Encoders of several sizes, with their trunk in the native engine and without.

    python benchmarks/encoders.py --json FILE

Each is a StyleTransformer of random weights, by the side of its pictures and the channels of its
first stage (the others have 2, 4 and 8 times as many); 256 and 64 are the published ones.
`gain` is the time of an engine alone by that with the trunk in the native engine: where it is above
one for both engines, rs-export offers the native variant (`rs_export.trunk_names`).
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.options import parser_for
from benchmarks.rounds import Arm, medians, publish, ratio, take_turns
from rs_export.graphs.base_inverter import base_inverter_role
from rs_export.portable import finish
from rs_export.precision import store_fp16
from rs_runtime.diagnostics.machine import machine_facts
from rs_runtime.engines.base import Engine
from rs_runtime.engines.native_engine import NativeEncoder, Shapes
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.engines.openvino_engine import OpenVinoEngine
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig

ENCODERS = ((128, 16), (128, 32), (256, 32), (128, 64), (256, 64))  # picture, channels
STAGES = (1, 2, 4, 8)
ENGINES = ("openvino", "onnxruntime")


def main() -> None:
    """Parse the options, time every encoder, print and write the figures."""
    options = parser_for(__doc__, rounds=9, threads=2).parse_args()
    arms: dict[str, Arm] = {}
    for size, channels in ENCODERS:
        graph = encoder(size, channels)
        shapes = {"image": (1, size, size, 3)}
        picture = np.random.default_rng(0).integers(0, 256, shapes["image"], np.uint8)
        for engine in ENGINES:
            name = f"{size} {channels} {engine}"
            alone = open_graph(engine, options.threads, False, name, graph, shapes)
            part = partial(open_graph, engine, options.threads, True)
            native = NativeEncoder(name, graph, shapes, part, options.threads)
            arms[name] = partial(alone.run, {"image": picture})
            arms[f"{name} native"] = partial(native.run, {"image": picture})
    seconds = take_turns(arms, options.rounds, lambda line: print(line, file=sys.stderr))
    report = {
        "gain": {
            f"{size} {channels}": {
                engine: ratio(seconds, name := f"{size} {channels} {engine}", f"{name} native")
                for engine in ENGINES
            }
            for size, channels in ENCODERS
        },
        "median_s": medians(seconds),
        "seconds": seconds,
        "threads": options.threads,
        "machine": machine_facts(),
    }
    publish(report, options.json)


def encoder(size: int, channels: int) -> bytes:
    """A graph as rs-export writes it: image uint8 [N, size, size, 3] -> w_plus."""
    torch.manual_seed(0)
    widths = tuple(channels * factor for factor in STAGES)
    config = StyleTransformerConfig(
        image_size=size, num_ws=12, w_dim=widths[-1], z_dim=16, channels=widths, heads=4
    )
    role = base_inverter_role(StyleTransformer(config).eval())
    return finish(store_fp16(role.intermediate()), role.name).SerializeToString()


def open_graph(
    engine: str, threads: int, beside_another: bool, label: str, graph: bytes, shapes: Shapes
) -> Engine:
    """A graph in one of `ENGINES`."""
    if engine == "openvino":
        return OpenVinoEngine(label, graph, engine, threads, shapes)
    return OnnxRuntimeEngine(label, graph, "cpu", threads, beside_another=beside_another)


if __name__ == "__main__":
    main()
