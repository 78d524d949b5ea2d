"""The whole synthesis: around our kernel, eager with grouped convolutions, and compiled."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_fused import FusedSynthesis
from benchmarks.gpu_layers import layers, whole_layer_times
from benchmarks.gpu_prepare import Stacks, prepare
from benchmarks.gpu_run import BATCHES, Run
from benchmarks.gpu_synthesis import Form, Inputs, Network, plain_synthesis, roofline_seconds
from benchmarks.gpu_timing import relative_error, replay_seconds, seconds


def whole_layers(run: Run, network: Network, batch: int) -> list[dict[str, Any]]:
    inputs = network.inputs(batch, 32)
    return [
        whole_layer_times(network, layer, inputs, run.device, run.l2_bytes)
        for layer in network.table.convs
    ]


def fused_synthesis(
    run: Run, network: Network, batch: int, rank: int, plan: int, how: Any
) -> dict[str, Any]:
    inputs = network.inputs(batch, rank)
    net = FusedSynthesis(network, Stacks.of(network, plan), how)
    result: dict[str, Any] = {"seconds": seconds([lambda: net(inputs)] * 2, run.device, 7)}
    if run.value("rates", "product_flops_per_s"):
        floor = roofline_seconds(
            run.table, batch, rank, run.bandwidth, run.value("rates", "product_flops_per_s")
        )
        result |= {"roofline_s": floor, "over_roofline": result["seconds"] / floor}
    return result


def fused_error(run: Run, network: Network, plan: int) -> dict[str, float]:
    """The image's relative error against the same network in fp32 PyTorch."""
    inputs = network.inputs(1, 32)
    exact = Network.random(run.table, torch.float32, run.device)
    wide = Inputs(inputs.w_plus, inputs.P.float(), inputs.Q.float())
    expected = plain_synthesis(exact, wide, "materialised")
    net = FusedSynthesis(network, Stacks.of(network, plan), prepare)
    plain = plain_synthesis(network, inputs, "materialised")
    return {
        "relative_error": relative_error(net(inputs), expected),
        "pytorch_relative_error": relative_error(plain, expected),
    }


def fused_profile(run: Run, network: Network, batch: int, plan: int) -> list[list[Any]]:
    inputs = network.inputs(batch, 32)
    net = FusedSynthesis(network, Stacks.of(network, plan), prepare)
    net(inputs)
    return profile(run, lambda: net(inputs))


def profile(run: Run, work: Callable[[], Any]) -> list[list[Any]]:
    """The kernels that take most of one run: name, microseconds, launches."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if run.device == "cuda":
        kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as seen:
        work()
        if run.device == "cuda":
            torch.cuda.synchronize()
    rows = [
        [e.key[:90], round(getattr(e, "self_device_time_total", 0.0), 1), e.count]
        for e in seen.key_averages()
    ]
    return sorted(rows, key=lambda row: -row[1])[:40]


def eager(run: Run, network: Network, batch: int, rank: int) -> dict[str, Any]:
    inputs = network.inputs(batch, rank)

    def once() -> Tensor:
        return plain_synthesis(network, inputs, "materialised")

    once()
    if run.device == "cpu":
        return {"seconds": seconds([once], "cpu")}
    return {"seconds": replay_seconds(once, 5)}


def compiled(run: Run, network: Network, batch: int, rank: int, form: Form) -> dict[str, Any]:
    """torch.compile with CUDA graphs, from the first call on."""
    inputs = network.inputs(batch, rank)
    mode = "default" if run.device == "cpu" else "reduce-overhead"
    forward = torch.compile(
        lambda w, p, q: plain_synthesis(network, Inputs(w, p, q), form),
        mode=mode,
        dynamic=False,
        fullgraph=True,
    )

    for tensor in network.tensors():
        # Otherwise the weights count as inputs, which the graph copies at every call.
        torch._dynamo.mark_static_address(tensor)

    def once() -> Tensor:
        return forward(inputs.w_plus, inputs.P, inputs.Q)

    begin = time.monotonic()
    for _ in range(3):
        once()
    warm = time.monotonic() - begin
    if run.device == "cpu":
        return {"seconds": seconds([once], "cpu"), "compile_s": warm}
    torch.cuda.synchronize()
    return {"seconds": replay_seconds(once, 9), "compile_s": time.monotonic() - begin}


def best_plan(run: Run, batch: int, plans: tuple[int, ...]) -> int:
    """The plan that was fastest without compilation."""

    def measured(plan: int) -> float:
        name = f"synthesis kernel b{batch} from{plan} eager-prepare"
        return run.value(name, "seconds") or float("inf")

    return min(plans, key=measured)


def synthesis_sections(run: Run) -> None:
    """Ours with several plans, then its peers and single layers; the slow compilations last."""
    network = Network.random(run.table, torch.float16, run.device)
    plans = {1: (8,), 8: (4, 64)} if run.options.dry_run else {1: (4, 64), 8: (4, 128, 2048)}
    for batch in BATCHES:
        for plan in plans[batch]:
            run.section(
                f"synthesis kernel b{batch} from{plan} eager-prepare",
                partial(fused_synthesis, run, network, batch, 32, plan, prepare),
            )
    run.section("synthesis error", partial(fused_error, run, network, plans[1][-1]))
    for batch in BATCHES:
        name = f"profile b{batch}"
        run.section(name, partial(fused_profile, run, network, batch, plans[batch][0]))
    for batch in BATCHES:
        name = f"synthesis eager grouped b{batch}"
        run.section(name, partial(eager, run, network, batch, 32))
    run.section("layers b1", partial(layers, run, 1), needs=5)
    fast = prepare
    if run.device == "cuda":
        fast = torch.compile(prepare, dynamic=False, fullgraph=True)
    best = {batch: best_plan(run, batch, plans[batch]) for batch in BATCHES}
    for batch, plan in best.items():
        work = partial(fused_synthesis, run, network, batch, 32, plan, fast)
        run.section(f"synthesis kernel b{batch} from{plan}", work, needs=10)
    compiled_section(run, network, 1, "materialised")
    compiled_section(run, network, 8, "dense")
    run.section("layers b8", partial(layers, run, 8), needs=5)
    for batch in BATCHES:
        run.section(f"whole layers b{batch}", partial(whole_layers, run, network, batch), needs=5)
        work = partial(fused_synthesis, run, network, batch, 288, best[batch], prepare)
        run.section(f"synthesis kernel b{batch} rank288", work)
    compiled_section(run, network, 1, "dense")
    compiled_section(run, network, 8, "materialised")


def compiled_section(run: Run, network: Network, batch: int, form: Form) -> None:
    work = partial(compiled, run, network, batch, 32, form)
    run.section(f"synthesis compiled {form} b{batch}", work, needs=15)
