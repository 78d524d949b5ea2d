"""The refined synthesis at full size against its peers, in one run on the CPU.

    python benchmarks/synthesis.py --size 1024 --json FILE [--rosinality CLONE]

Weights are random. Every arm computes one picture of the published network (or a batch where it
says so); arms take turns, and a ratio is the median of the rounds' quotients. `vs_X` above 1 means
that ours is faster. Peers that are not installed are left out.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cpu_forms, peers
from benchmarks.options import parser_for
from benchmarks.rounds import Arm, fastest, medians, ratio, take_turns
from rs_export import forms
from rs_runtime.contracts.roles import Variant
from rs_runtime.diagnostics.machine import machine_facts, peak_memory
from rs_runtime.engines.select import Chosen, installed, open_engine, providers
from rs_runtime.mixing import PackedTokens, take
from rs_train.generator import Generator
from rs_train.generator import PackedTokens as TorchTokens

RANK, RANK_WITH_DOMAIN = 32, 288
BATCH, SMALL_BATCH = 8, 4
# The native engine has no graph without tokens: it is given one that changes nothing.
UNREFINED = ("constant weights", "by the rule", "neutral tokens")
FP32, BF16 = ("native", "openvino"), ("openvino-bf16",)
DEFINITIONS = {
    "ours_fp32": "the arm of ours that is the fastest in fp32",
    "ours_bf16": "the fastest where bf16 will do, which may be one in fp32",
    "vs_pytorch_eager_fp32": "eager grouped convolution fp32, refined / ours_fp32",
    "vs_pytorch_eager_bf16": "eager grouped convolution fp32, refined / ours_bf16",
    "vs_best_pytorch_fp32": "torch.compile + freezing, unrefined fp32 / ours_fp32",
    "vs_best_pytorch_bf16": "torch.compile + freezing, unrefined, bf16 or fp32 / ours_bf16",
    "vs_naive_onnx_fp32": "kernels built as the equations say, ONNX Runtime / ours_fp32",
    "vs_naive_onnx_fp32_same_engine": "the same / our graph for CPUs in ONNX Runtime",
    "vs_openvino_fp32": "our graph for CPUs in OpenVINO, refined / ours_fp32",
    "vs_rosinality_fp32": "rosinality's generator, eager, unrefined fp32 / ours_fp32",
    "vs_rosinality_bf16": "the same, still in fp32 / ours_bf16",
    "vs_mnn_fp32": "MNN, unrefined / ours_fp32",
    "batch4_vs_pytorch_eager_fp32": "four pictures: eager in one batch / ours_fp32 one by one",
    "batch4_vs_pytorch_eager_bf16": "the same, ours_bf16",
    "overhead_rank_32": "ours_fp32 at rank 32 / the fastest unrefined run of its engine - 1",
    "overhead_rank_288": "the same at rank 288",
    "batch8_mixed_ratio": "a picture of a batch of 8 with 8 mixes / of 8 with one mix, ours_fp32",
}
# PyTorch takes fresh memory for every map: how malloc is set decides how fast it is.
_TUNING = ("MALLOC_", "OMP_", "KMP_", "MKL_", "LD_PRELOAD")
_BEST_FP32, _BEST_BF16 = "compiled unrefined fp32", "compiled unrefined bf16"
_ROSINALITY, _MNN = "rosinality eager unrefined fp32", "mnn unrefined"
_BATCH_OF = f"rank {RANK}, batch {SMALL_BATCH}"
_EAGER_BATCH = f"eager refined fp32, batch {SMALL_BATCH}"


def main() -> None:
    """Parse the options, run the arms, print and write the figures."""
    parser = parser_for(__doc__, rounds=7, threads=2)
    parser.add_argument("--size", type=int, default=1024, help="128, 256, 512 or 1024")
    parser.add_argument(
        "--rosinality", type=Path, help="a clone of its repository, to compare with"
    )
    parser.add_argument(
        "--skip", action="append", default=[], help="arms to leave out, by a part of their names"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    arms = _arms(options.size, options.threads, options.rosinality)
    arms = {n: arm for n, arm in arms.items() if not any(part in n for part in options.skip)}

    def keep(seconds: dict[str, list[float]]) -> str:
        text = json.dumps(_report(seconds, options.size, options.threads), indent=2)
        if options.json is not None:
            options.json.write_text(text + "\n", encoding="utf-8")
        return text

    tell = partial(print, file=sys.stderr)
    print(keep(take_turns(arms, options.rounds, tell, keep)))


def _report(seconds: dict[str, list[float]], size: int, threads: int) -> dict[str, Any]:
    return figures(seconds) | {
        "size": size,
        "threads": threads,
        "weights": "random",
        "median_s": medians(seconds),
        "seconds": seconds,
        "peak_memory_mb": round(peak_memory() / 1e6),
        "definitions": DEFINITIONS,
        "environment": {k: v for k, v in os.environ.items() if k.startswith(_TUNING)},
        "machine": machine_facts(),
    }


def figures(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The ratios that documents quote; None where an arm was not run."""
    provider = _fastest_provider(seconds, FP32)
    ours = f"{provider} rank {RANK}"
    bf16_provider = _fastest_provider(seconds, FP32 + BF16)
    bf16 = f"{bf16_provider} rank {RANK}"
    # On a CPU without bf16 instructions it is fp32 that PyTorch is faster in.
    best_bf16 = fastest(seconds, [_BEST_FP32, _BEST_BF16]) or _BEST_BF16
    found = {
        "ours_fp32": ours,
        "ours_bf16": bf16,
        "vs_pytorch_eager_fp32": ratio(seconds, "eager refined fp32", ours),
        "vs_pytorch_eager_bf16": ratio(seconds, "eager refined fp32", bf16),
        "vs_best_pytorch_fp32": ratio(seconds, _BEST_FP32, ours),
        "vs_best_pytorch_bf16": ratio(seconds, best_bf16, bf16),
        "vs_naive_onnx_fp32": ratio(seconds, "naive onnx fp32", ours),
        "vs_naive_onnx_fp32_same_engine": ratio(seconds, "naive onnx fp32", f"cpu rank {RANK}"),
        "vs_openvino_fp32": ratio(seconds, f"openvino rank {RANK}", ours),
        "vs_rosinality_fp32": ratio(seconds, _ROSINALITY, ours),
        "vs_rosinality_bf16": ratio(seconds, _ROSINALITY, bf16),
        "vs_mnn_fp32": ratio(seconds, _MNN, ours),
        "batch4_vs_pytorch_eager_fp32": ratio(seconds, _EAGER_BATCH, f"{provider} {_BATCH_OF}"),
        "batch4_vs_pytorch_eager_bf16": ratio(
            seconds, _EAGER_BATCH, f"{bf16_provider} {_BATCH_OF}"
        ),
    }
    overheads = {
        f"{engine} rank {rank}": _overhead(seconds, engine, rank)
        for engine in (*FP32, *BF16, "cpu")
        for rank in (RANK, RANK_WITH_DOMAIN)
    }
    found["overhead_rank_32"] = overheads.get(ours)
    found["overhead_rank_288"] = overheads.get(f"{provider} rank {RANK_WITH_DOMAIN}")
    found["batch8_mixed_ratio"] = ratio(
        seconds, f"{provider}, batch 8 mixed", f"{provider}, batch 8 of one mix"
    )
    return found | {"overheads": overheads}


def _fastest_provider(seconds: dict[str, list[float]], providers: tuple[str, ...]) -> str | None:
    arm = fastest(seconds, [f"{provider} rank {RANK}" for provider in providers])
    return None if arm is None else arm.removesuffix(f" rank {RANK}")


def _overhead(seconds: dict[str, list[float]], provider: str, rank: int) -> float | None:
    base = fastest(seconds, [f"{provider} unrefined, {how}" for how in UNREFINED])
    quotient = None if base is None else ratio(seconds, f"{provider} rank {rank}", base)
    return None if quotient is None else round(quotient - 1, 4)


def _arms(size: int, threads: int, checkout: Path | None) -> dict[str, Arm]:
    generator = cpu_forms.random_generator(size)
    arms = _pytorch_arms(generator)
    model = cpu_forms.intermediate(generator)
    files = {
        "naive": cpu_forms.straight(model, cpu_forms.naive),
        "ours": cpu_forms.graph(model, forms.cpu),
        UNREFINED[0]: cpu_forms.graph(model, cpu_forms.plain_constant),
        UNREFINED[1]: cpu_forms.graph(model, cpu_forms.plain_cpu),
    }
    feeds = {
        rank: cpu_forms.random_inputs(generator, 1, rank) for rank in (1, RANK, RANK_WITH_DOMAIN)
    }
    straight, plain = cpu_forms.straight(model, cpu_forms.plain_constant), feeds[1]
    w_plus = torch.from_numpy(plain["w_plus"])
    arms |= peers.present(
        {
            _ROSINALITY: lambda: partial(peers.rosinality(checkout, size), w_plus),
            _MNN: lambda: peers.mnn(straight, plain, threads),
        }
    )
    arms["naive onnx fp32"] = runner("cpu", files["naive"], feeds[RANK], threads)
    for provider in ("cpu", *FP32, *BF16):
        if provider not in installed()[0]:
            continue
        engine = _opened(provider, files["ours"], threads, feeds[RANK])
        for rank in (RANK, RANK_WITH_DOMAIN):
            arms[f"{provider} rank {rank}"] = _bound(engine.run, feeds[rank])
        if provider == "native":
            neutral = feeds[1] | {"P": 0 * feeds[1]["P"]}
            arms[f"{provider} unrefined, {UNREFINED[2]}"] = _bound(engine.run, neutral)
        else:
            for how in UNREFINED[:2]:
                run = runner(provider, files[how], feeds[1], threads)
                arms[f"{provider} unrefined, {how}"] = run
        if provider != "cpu":
            batch = cpu_forms.random_inputs(generator, SMALL_BATCH, RANK)
            arms[f"{provider} {_BATCH_OF}"] = _one_by_one(engine.run, batch)
        if provider in FP32:
            arms |= _batch_arms(provider, generator, engine.run)
    return arms


def _batch_arms(provider: str, generator: Generator, run: Callable[..., Any]) -> dict[str, Arm]:
    """Eight pictures: all in one domain, or each in a mix of its own whose rank differs."""
    one = cpu_forms.random_inputs(generator, BATCH, RANK_WITH_DOMAIN)
    mixed = {name: value.copy() for name, value in one.items()}
    for sample in range(BATCH):  # ranks from 32 (no domain) up to 288
        used = RANK + sample * (RANK_WITH_DOMAIN - RANK) // (BATCH - 1)
        mixed["P"][sample, used:] = 0

    arms = {f"{provider}, batch 8 of one mix": one, f"{provider}, batch 8 mixed": mixed}
    return {name: _one_by_one(run, inputs) for name, inputs in arms.items()}


def _one_by_one(run: Callable[..., Any], inputs: dict[str, np.ndarray]) -> Arm:
    """A batch as the runtime runs it through a graph for one picture."""
    w_plus = inputs["w_plus"]
    tokens = PackedTokens(*(inputs[name] for name in PackedTokens._fields))

    def work() -> None:
        for n in range(len(w_plus)):
            rows = slice(n, n + 1)
            run({"w_plus": w_plus[rows], **take(tokens, rows)._asdict()})

    return work


def _pytorch_arms(generator: Generator) -> dict[str, Arm]:
    inputs = cpu_forms.random_inputs(generator, SMALL_BATCH, RANK)
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    synthesis = generator.synthesis
    synthesis.form = "materialised"

    def eager(batch: int, bf16: bool) -> Arm:
        rows = {name: value[:batch] for name, value in tensors.items()}
        tokens = TorchTokens(*(rows[name] for name in TorchTokens._fields))

        def work() -> None:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                synthesis(rows["w_plus"], tokens)

        return work

    return {
        "eager refined fp32": eager(1, False),
        "eager refined bf16": eager(1, True),
        _EAGER_BATCH: eager(SMALL_BATCH, False),
        _BEST_FP32: _compiled(generator, tensors["w_plus"][:1], False),
        _BEST_BF16: _compiled(generator, tensors["w_plus"][:1], True),
    }


class _Unrefined(torch.nn.Module):
    """Constant weights, no tokens: the form of PyTorch that compiles best."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis

    def forward(self, w_plus: torch.Tensor) -> torch.Tensor:
        self.synthesis.form = "factorised"
        try:
            return self.synthesis(w_plus)
        finally:
            self.synthesis.form = "materialised"


def _compiled(generator: Generator, w_plus: torch.Tensor, bf16: bool) -> Arm:
    import torch._inductor.config as inductor

    inductor.freezing = True
    network = torch.compile(_Unrefined(generator).eval(), dynamic=False)

    def work() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            network(w_plus)

    return work


def _opened(provider: str, graph: bytes, threads: int, feeds: dict[str, np.ndarray]) -> Any:
    engine = providers()[provider]
    precision = "bf16" if provider == "openvino-bf16" else "fp32"
    shapes = {
        name: [1, "L", value.shape[2]] if name in ("P", "Q") else list(value.shape)
        for name, value in feeds.items()
    }
    chosen = Chosen(Variant("synthesis.onnx", engine, precision, "cpu", 1), graph, shapes)
    return open_engine(provider, "synthesis", chosen, threads)


def runner(provider: str, graph: bytes, feeds: dict[str, np.ndarray], threads: int) -> Arm:
    """An arm that runs a graph of a batch of one."""
    return _bound(_opened(provider, graph, threads, feeds).run, feeds)


def _bound(run: Callable[..., Any], feeds: dict[str, np.ndarray]) -> Arm:
    return lambda: run(feeds)


if __name__ == "__main__":
    main()
