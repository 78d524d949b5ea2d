"""The whole two-stage inversion: a bundle on its CPU providers against its networks in PyTorch.

    python benchmarks/inversion.py --bundle BUNDLE --checkpoint FOLDER --json FILE \
        [--rosinality CLONE]

The folder has the checkpoints that the bundle was exported from; `full_size.py` makes one of the
published size. All find w_plus, draw the first inversion, refine it and draw the second. With a
clone of rosinality's repository, another arm has its generator, at random weights, draw both
pictures. It takes no tokens, so that it draws without the ones that the refiner found: refined it
would take longer.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import rs_runtime
from benchmarks import peers
from benchmarks.options import parser_for
from benchmarks.rounds import Arm, fastest, medians, publish, ratio, take_turns
from rs_runtime.diagnostics.machine import machine_facts
from rs_runtime.engines.select import installed
from rs_train.checkpoint import load_model
from rs_train.generator import PackedTokens

DEFINITIONS = {
    "ours_fp32": "the provider that is the fastest in fp32",
    "inversion_vs_pytorch_eager_fp32": "our networks in eager PyTorch / ours_fp32",
    "inversion_vs_pytorch_eager_bf16": "the same, still in fp32 / openvino-bf16",
    "inversion_vs_rosinality_eager_fp32": "our encoders in eager PyTorch, both pictures drawn by "
    "rosinality's generator, unrefined / ours_fp32",
}
_EAGER, _ROSINALITY = "eager fp32", "rosinality eager fp32"

Draw = Callable[[torch.Tensor, PackedTokens | None], torch.Tensor]


def main() -> None:
    """Parse the options, run the arms, print and write the figures."""
    parser = parser_for(__doc__, rounds=5, threads=2)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a folder")
    parser.add_argument(
        "--rosinality", type=Path, help="a clone of its repository, to compare with"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    photo = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    arms = _pytorch_arms(options.checkpoint, options.rosinality, photo)
    for provider in ("native", "openvino", "openvino-bf16"):
        if provider not in installed()[0]:
            continue
        runtime = rs_runtime.load(options.bundle, provider=provider, threads=options.threads)
        arms[provider] = _ours(runtime, photo)
    seconds = take_turns(arms, options.rounds, lambda line: print(line, file=sys.stderr))
    ours = fastest(seconds, ["native", "openvino"])
    report = {
        "ours_fp32": ours,
        "inversion_vs_pytorch_eager_fp32": ours and ratio(seconds, _EAGER, ours),
        "inversion_vs_pytorch_eager_bf16": ratio(seconds, _EAGER, "openvino-bf16"),
        "inversion_vs_rosinality_eager_fp32": ours and ratio(seconds, _ROSINALITY, ours),
        "median_s": medians(seconds),
        "seconds": seconds,
        "definitions": DEFINITIONS,
        "threads": options.threads,
        "machine": machine_facts(),
    }
    publish(report, options.json)


def _ours(runtime: rs_runtime.Runtime, photo: np.ndarray) -> Arm:
    return lambda: runtime.invert(photo, check=False).reconstruction


def _pytorch_arms(folder: Path, checkout: Path | None, photo: np.ndarray) -> dict[str, Arm]:
    generator, base, refiner = (
        load_model(folder / f"{name}.safetensors")
        for name in ("generator", "base_inverter", "refiner")
    )
    generator.synthesis.form = "materialised"
    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1

    def invert(draw: Draw) -> None:
        with torch.inference_mode():
            w_plus = base(image)
            refiner.improve(image, w_plus, draw(w_plus, None), draw)

    def peer() -> Arm:
        draw = peers.rosinality(checkout, generator.table.resolution)
        return partial(invert, lambda w_plus, tokens: draw(w_plus))

    arms: dict[str, Arm] = {_EAGER: partial(invert, generator.synthesis)}
    return arms | peers.present({_ROSINALITY: peer})


if __name__ == "__main__":
    main()
