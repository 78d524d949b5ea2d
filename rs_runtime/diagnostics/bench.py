"""How long a bundle takes here: medians and tails, cold start, memory, batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rs_runtime.diagnostics.machine import machine_facts, peak_memory
from rs_runtime.pipeline import Runtime

_COLD = """
import json, sys, time
begun = time.perf_counter()
import numpy as np
import rs_runtime
from rs_runtime.diagnostics.machine import peak_memory
runtime = rs_runtime.load(sys.argv[1], provider=sys.argv[2])
photo = np.full((256, 256, 3), 128, np.uint8)
if runtime.manifest.inverter:
    runtime.invert(photo, check=False).reconstruction
else:
    runtime.synth(1)
spent = time.perf_counter() - begun
print(json.dumps({
    "cold_start_s": round(spent, 3),
    "cold_start_own_s": round(spent - runtime.engine_seconds, 3),
    "first_picture_memory_mb": round(peak_memory() / 1e6, 1),
}))
"""
_SIDE = 512


def measure(
    runtime: Runtime, *, batches: Sequence[int], runs: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Times a bundle's jobs, each after a warm-up.

    Args:
        runtime: The bundle.
        batches: Batch sizes of the sweep.
        runs: Runs of each job.
        progress: Is told what is measured next.

    Returns:
        JSON values: `jobs` by name and batch (milliseconds a call and a picture, and those spent
        outside the engine), the cold start to the first picture and what of it is not the
        engine's, the peak memory of that process and of this one, hashing, and the facts of the
        machine.
    """
    jobs: dict[str, Any] = {}
    for batch in batches:
        for name, job in _jobs(runtime, batch).items():
            progress(f"{name}, batch {batch}")
            jobs[f"{name} {batch}"] = {"batch": batch} | times(job, runs, batch, runtime)
    progress("cold start")
    return {
        "jobs": jobs,
        **_cold_start(runtime),
        "hashing_ms": times(runtime.bundle.verify, 3, 1, runtime)["median_ms"],
        "peak_memory_mb": round(peak_memory() / 1e6, 1),
        "provider": runtime.provider,
        "bundle": {
            "model": runtime.manifest.model,
            "image_size": runtime.manifest.image.size,
            "generator_fingerprint": runtime.manifest.generator_fingerprint,
        },
        "machine": machine_facts(),
    }


def times(job: Callable[[], object], runs: int, pictures: int, runtime: Runtime) -> dict[str, Any]:
    """Calls a job once to warm up, then `runs` times; milliseconds."""
    job()
    spent, own = [], []
    for _ in range(runs):
        begun, in_engine = time.perf_counter(), runtime.engine_seconds
        job()
        spent.append(1000 * (time.perf_counter() - begun))
        own.append(spent[-1] - 1000 * (runtime.engine_seconds - in_engine))
    median = float(np.median(spent))
    return {
        "runs": runs,
        "median_ms": round(median, 3),
        "p95_ms": round(float(np.percentile(spent, 95)), 3),
        "min_ms": round(min(spent), 3),
        "median_ms_per_picture": round(median / pictures, 3),
        "median_own_ms": round(float(np.median(own)), 3),
    }


def _jobs(runtime: Runtime, batch: int) -> dict[str, Callable[[], object]]:
    photo = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
    w_plus = np.zeros((batch, runtime.table.num_ws, runtime.table.w_dim), np.float32)
    jobs: dict[str, Callable[[], object]] = {}
    names = runtime.domains
    if runtime.manifest.inverter:
        photos = [photo] * batch
        jobs["invert"] = lambda: runtime.invert(photos, check=False)
        inversion = runtime.invert(photos, check=False)
        w_plus = inversion.w_plus
        if names:
            mixed = [[names[n % len(names)]] for n in range(batch)]
            jobs["restyle"] = lambda: inversion.synthesize([names[:1]] * batch)
            jobs["restyle mixed"] = lambda: inversion.synthesize(mixed)
    jobs["synthesize plain"] = lambda: runtime.synthesize(w_plus)
    return jobs


def _cold_start(runtime: Runtime) -> dict[str, float]:
    """From nothing imported to the first picture, in a process of its own."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _COLD, str(runtime.bundle.root), str(runtime.provider)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    return json.loads(done.stdout)
