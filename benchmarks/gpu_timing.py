"""Facts about a CUDA machine and honest times on it; `device="cpu"` only shows that code runs."""

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

GIB = 1 << 30


def machine_facts() -> dict[str, Any]:
    """Names and versions that a time is worth nothing without."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "machine": platform.machine(),
    }
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": card.name,
            "capability": f"{card.major}.{card.minor}",
            "multiprocessors": card.multi_processor_count,
            "l2_bytes": card.L2_cache_size,
            "memory_bytes": card.total_memory,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv"),
        }
    facts["nvcc"] = _first_line("nvcc", "--version")
    return facts


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[-1]


def seconds(calls: Sequence[Callable[[], Any]], device: str, repeats: int = 9) -> float:
    """Median seconds of one call.

    Args:
        calls: The same work on different inputs, together larger than the card's L2; they are
            captured into one CUDA graph, so that no time between launches is measured.
        device: "cuda", or "cpu" where nothing is measured but one call.
        repeats: Replays of which the median counts.
    """
    if device == "cpu":
        start = time.perf_counter()
        calls[0]()
        return time.perf_counter() - start
    warm = torch.cuda.Stream()
    warm.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm):
        for call in calls[:2]:
            call()
            call()
    torch.cuda.current_stream().wait_stream(warm)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        # Results kept until the end of the capture get memory of their own.
        kept = [call() for call in calls]
    del kept
    return replay_seconds(graph.replay, repeats) / len(calls)


def replay_seconds(replay: Callable[[], Any], repeats: int = 9) -> float:
    """Median seconds of a call whose work is all on the current CUDA stream."""
    for _ in range(2):
        replay()
    times = []
    for _ in range(repeats):
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def copy_bandwidth(device: str) -> float:
    """Bytes per second of a large copy on the device, counting what is read and written."""
    count = GIB if device == "cuda" else 1 << 20
    source = torch.randint(0, 255, (count,), dtype=torch.uint8, device=device)
    targets = [torch.empty_like(source) for _ in range(2)]
    return 2 * count / seconds([lambda t=t: t.copy_(source) for t in targets], device)


def product_rate(device: str) -> float:
    """Floating-point operations per second of a large fp16 matrix product on random data."""
    side = 8192 if device == "cuda" else 64
    a, b = (torch.randn(side, side, device=device).half() for _ in range(2))
    return 2 * side**3 / seconds([lambda: a @ b] * 4, device)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm, in float64; NaN stays NaN."""
    found, expected = found.double(), expected.double()
    return float((found - expected).norm() / expected.norm())
