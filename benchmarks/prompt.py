"""What a domain made of words or of a picture costs beside a stored one.

    python benchmarks/prompt.py --json FILE               the demo bundle, warm and from the shell
    python benchmarks/prompt.py --published --json FILE   graphs at the published size

The first times a restyled picture whose domain is stored, made of a prompt, or of a picture, in
turns, so that a slow moment of the machine hits each; `extra_ms` is the median over the rounds of
the difference to the stored domain, `extra_least_ms` that of the fastest ones, which other work on
the machine disturbs least. The second exports ViT-B/32 and HyperDomainNet for the 1024 x
1024 faces network at random weights, compares each graph with PyTorch, and times it.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.options import parser_for
from benchmarks.rounds import Arm, medians, publish, take_turns
from rs_runtime.diagnostics.machine import machine_facts, peak_memory

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "photo.jpg"
PROMPTS = (
    "a charcoal drawing of a face",
    "an oil painting in warm tones",
    "a pencil drawing in sepia tones with ink outlines under dramatic light",
)
STORED = "stored domain"
ENCODER_SIDE = 256  # of the published inverters' pictures, which role preprocess prepares


def main() -> None:
    """Parse the options, measure, print and write the figures."""
    parser = parser_for(__doc__, rounds=30)
    parser.add_argument("--published", action="store_true", help="graphs at the published size")
    parser.add_argument("--bundle", type=Path, help="default: the demo bundle")
    parser.add_argument("--domain", default="sketch", help="the stored domain")
    parser.add_argument("--provider", default="auto")
    options = parser.parse_args()
    found = published(options.rounds) if options.published else demo(options)
    publish(found | {"machine": machine_facts()}, options.json)


def demo(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a restyled picture, and of the whole command, by where its domain is from."""
    import rs_runtime

    runtime = rs_runtime.load(options.bundle, provider=options.provider)
    inversion = runtime.invert(PHOTO, check=False)
    prompts = itertools.cycle(PROMPTS)
    saved = runtime.prompt(PROMPTS[0])
    arms: dict[str, Arm] = {
        STORED: lambda: inversion.synthesize(options.domain),
        "saved prompt": lambda: inversion.synthesize(saved),
        "prompt": lambda: inversion.synthesize(runtime.prompt(next(prompts))),
        "style picture": lambda: inversion.synthesize(runtime.style(PHOTO)),
    }
    warm = take_turns(arms, options.rounds, _tell)
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(options, Path(folder) / "out.png")
        shell = take_turns(commands, max(3, options.rounds // 6), _tell)
    return {
        "bundle_bytes": sum(own.size for own in runtime.manifest.files.values()),
        "prompt_part_bytes": {
            path: own.size for path, own in runtime.manifest.files.items() if _is_prompts(path)
        },
        "provider": runtime.provider,
        "extra_ms": _extra(warm),
        "extra_least_ms": _extra_least(warm),
        "median_ms": {name: round(1000 * value, 3) for name, value in medians(warm).items()},
        "shell_extra_ms": _extra(shell),
        "shell_extra_least_ms": _extra_least(shell),
        "shell_median_s": medians(shell),
        "rounds": options.rounds,
    }


def _is_prompts(path: str) -> bool:
    return any(name in path for name in ("prompt/", "text", "vision", "hypernetwork"))


def _commands(options: argparse.Namespace, out: Path) -> dict[str, Arm]:
    """`rs-run invert` from nothing imported to its picture written, by where the domain is from."""
    asked = {
        STORED: ("--domain", options.domain),
        "prompt": ("--prompt", PROMPTS[0]),
        "style picture": ("--style", str(PHOTO)),
    }
    rest = ["--no-strip", "--provider", options.provider, "--out", str(out)]
    if options.bundle is not None:
        rest += ["--bundle", str(options.bundle)]

    def arm(own: tuple[str, str]) -> Arm:
        command = [sys.executable, "-m", "rs_runtime.cli", "invert", str(PHOTO), *own, *rest]
        return lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT)

    return {name: arm(own) for name, own in asked.items()}


def _extra(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Median difference to the stored domain over the rounds, in milliseconds."""
    base = np.array(seconds[STORED])
    return {
        name: round(1000 * float(np.median(np.array(values) - base)), 2)
        for name, values in seconds.items()
        if name != STORED
    }


def _extra_least(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Difference of the fastest rounds to that of the stored domain, in milliseconds."""
    return {
        name: round(1000 * (min(values) - min(seconds[STORED])), 2)
        for name, values in seconds.items()
        if name != STORED
    }


def published(rounds: int) -> dict[str, Any]:
    """Sizes, milliseconds and differences of the three graphs and files of a prompt part."""
    import torch

    from rs_export.prompt_part import PromptPart, prompt_files, prompt_roles
    from rs_runtime.contracts.prompt import TOKENIZER_PATH
    from rs_train.domains.hypernetwork import HyperDomainNet, HyperDomainNetConfig
    from rs_train.perceptual.clip import load_open_clip

    torch.manual_seed(0)
    clip = load_open_clip("ViT-B-32-quickgelu", None)
    network = HyperDomainNet(HyperDomainNetConfig()).eval()
    part = PromptPart(clip, network, "random weights", {})
    files = prompt_files(part)
    return {
        "clip": "open_clip ViT-B-32-quickgelu",
        "weights": "random, stored in fp16",
        "hypernetwork": "HyperDomainNet for 17 convolutions, modulation",
        "parameters": {
            name: sum(value.numel() for value in own.parameters())
            for name, own in (("clip", clip), ("hypernetwork", network))
        },
        "tokenizer": _tokenizer(files[TOKENIZER_PATH], clip.network.context_length),
        "roles": {role.name: _role(role, rounds) for role in prompt_roles(part, ENCODER_SIDE)},
        "peak_memory_mb": round(peak_memory() / 1e6),
    }


def _tokenizer(data: bytes, context: int) -> dict[str, Any]:
    """Milliseconds of checking and opening the tokenizer's file, and of reading a prompt."""
    from tokenizers import Tokenizer

    from rs_runtime.contracts.prompt import check_tokenizer

    begun = time.perf_counter()
    tokenizer = Tokenizer.from_str(check_tokenizer(data, "tokenizer.json"))
    opened = time.perf_counter()
    tokens = len(tokenizer.encode(PROMPTS[-1]).ids)
    return {
        "bytes": len(data),
        "context_length": context,
        "open_ms": round(1000 * (opened - begun), 1),
        "read_ms": round(1000 * (time.perf_counter() - opened), 3),
        "tokens_of_the_longest_prompt": tokens,
    }


def _role(role: Any, rounds: int) -> dict[str, Any]:
    """Export one role with halved weights, compare it with PyTorch, and time it in each engine."""
    from rs_export import forms
    from rs_export.compare import FP16_STORED
    from rs_export.parity import cases_of, check_role
    from rs_export.portable import finish
    from rs_export.precision import store_fp16
    from rs_runtime.contracts.roles import Variant
    from rs_runtime.engines.select import Chosen, installed, open_engine

    _tell(f"exporting {role.name}")
    begun = time.perf_counter()
    model = finish(store_fp16(forms.expand(role.intermediate())), role.name)
    found: dict[str, Any] = {
        "bytes": model.ByteSize(),
        "export_s": round(time.perf_counter() - begun, 1),
    }
    rng = np.random.default_rng(0)
    inputs = {name: value.numpy()[:1] for name, value in role.example.items()}
    if "image" in inputs:
        inputs["image"] = rng.integers(0, 256, inputs["image"].shape, np.uint8)
    cases = cases_of(role, [inputs])
    graph = model.SerializeToString()
    for provider, engine in (("cpu", "onnxruntime"), ("openvino", "openvino")):
        if provider not in installed()[0]:
            continue
        variant = Variant("role.onnx", engine, "fp16_stored", "plain", "dynamic")
        shapes = {name: ["N", *value.shape[1:]] for name, value in inputs.items()}
        begun = time.perf_counter()
        session = open_engine(provider, role.name, Chosen(variant, graph, shapes), 2)
        opened = time.perf_counter() - begun
        found[provider] = {
            "open_ms": round(1000 * opened, 1),
            "parity": check_role(role, session.run, cases, FP16_STORED),
            "run_ms": _milliseconds(session.run, inputs, rounds),
        }
    return found


def _milliseconds(run: Any, inputs: Any, rounds: int) -> dict[str, float]:
    spent = take_turns({"run": lambda: run(inputs)}, rounds, lambda line: None)["run"]
    return {
        "median": round(1000 * float(np.median(spent)), 2),
        "least": round(1000 * min(spent), 2),
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
