"""Check and time the refined convolution's CUDA kernel against PyTorch on this machine's GPU.

    python benchmarks/refined_conv_cuda.py --out refined_conv.json [--quick]

Needs nvcc and PyTorch with CUDA. Results are written after every section, and a section that fails
is recorded and does not stop the next. `--dry-run` runs all of it on the CPU at toy sizes, which
shows that it runs and measures nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from benchmarks.gpu_image_times import synthesis_sections
from benchmarks.gpu_layers import layers, operator_times
from benchmarks.gpu_operator import body, fir, fused, use_library
from benchmarks.gpu_run import Run
from benchmarks.gpu_timing import (
    copy_bandwidth,
    machine_facts,
    product_rate,
    relative_error,
)
from plugins.refined_conv import library

VARIANTS = (
    ("RS_BOX_ROWS=1", "RS_UP_PAIRS=1", "RS_POINT_ROWS=2"),
    ("RS_BOX_ROWS=4", "RS_UP_PAIRS=4", "RS_POINT_ROWS=8", "RS_COLUMN_BLOCKS=1"),
    ("RS_UP_VECTOR=8", "RS_UP_PAIRS=1", "RS_POINT_ROWS=1", "RS_COLUMN_BLOCKS=1"),
    ("RS_UP_VECTOR=8", "RS_UP_PAIRS=2", "RS_BOX_ROWS=2", "RS_COLUMN_BLOCKS=1"),
    ("RS_BOX_ROWS=2", "RS_UP_PAIRS=2", "RS_POINT_ROWS=4", "RS_COLUMN_BLOCKS=3"),
)
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def build(run: Run, folder: Path) -> dict[str, Any]:
    begin = time.monotonic()
    target = folder / "librefined_conv.so"
    if run.device == "cpu":
        library.build_host(target)
    else:
        major, minor = torch.cuda.get_device_capability()
        library.build_cuda(target, [10 * major + minor])
    use_library(library.load(target))
    return {"seconds": time.monotonic() - begin, "bytes": target.stat().st_size}


def correctness(run: Run) -> dict[str, Any]:
    """Relative norms against the function body in float64, on fresh random inputs."""
    shapes = [(1, 20, 10, 14, 7), (3, 33, 18, 10, 5), (2, 64, 16, 32, 32), (8, 40, 34, 22, 24)]
    if not run.options.dry_run and not run.options.quick:
        shapes += [(2, 512, 64, 64, 288), (1, 32, 512, 512, 32), (3, 128, 130, 126, 64)]
    worst: dict[str, float] = {}
    failed = []
    for dtype, tolerance in TOLERANCES.items():
        for shape in shapes:
            for layout in ("channels_first", "channels_last"):
                for geometry in ("point", "box", "up"):
                    for kind in ("none", "dense", "low rank"):
                        error = _one_error(run.device, dtype, shape, layout, geometry, kind)
                        name = str(dtype).removeprefix("torch.")
                        worst[name] = max(worst.get(name, 0.0), error)
                        if not error <= tolerance:
                            failed.append([name, shape, layout, geometry, kind, error])
    return {"worst_relative_error": worst, "failed": failed}


def _one_error(
    device: str, dtype: torch.dtype, shape: tuple[int, ...], layout: str, geometry: str, kind: str
) -> float:
    n, c, h, w, rank = shape
    edge, part = (1, 2) if geometry == "up" else (0, 1)

    def draw(*size: int, to: torch.dtype = dtype) -> Tensor:
        return torch.randn(*size, device=device).to(to)

    def maps(*size: int) -> Tensor:
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        return draw(*size).contiguous(memory_format=form)

    parts = {
        "base": maps(n, c, h + edge, w + edge),
        "residual": None,
        "P": draw(n, rank, c) / rank**0.5 if kind == "low rank" else None,
        "demodulation": draw(n, c, to=torch.float32).abs(),
        "noise": draw(n, 1, h, w),
        "bias": draw(c, to=torch.float32),
    }
    if kind != "none":
        parts["residual"] = maps(n, rank if kind == "low rank" else c, h // part, w // part) / 4
    wide = {k: None if v is None else v.double().contiguous() for k, v in parts.items()}
    filter_ = fir(wide["base"]) if geometry == "up" else None
    expected = body(**wide, geometry=geometry, filter_=filter_)
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    out = torch.full((n, c, h, w), torch.nan, device=device, dtype=dtype)
    out = out.contiguous(memory_format=form)
    return relative_error(fused(**parts, geometry=geometry, layout=layout, out=out), expected)


def start_variants(folder: Path) -> list[Future[Path]]:
    """Build the variants of the kernel beside everything else."""
    major, minor = torch.cuda.get_device_capability()

    def one(number: int, defines: tuple[str, ...]) -> Path:
        target = folder / f"variant{number}.so"
        library.build_cuda(target, [10 * major + minor], ("RS_ONLY_HALF", *defines))
        return target

    pool = ThreadPoolExecutor(len(VARIANTS))
    return [pool.submit(one, number, defines) for number, defines in enumerate(VARIANTS)]


def tune(run: Run, folder: Path, built: list[Future[Path]]) -> list[dict[str, Any]]:
    """The operator's times at three layers in every variant of the kernel."""
    rows = []
    names = ("b64.conv1", "b256.conv0", "b256.conv1", "b1024.conv0", "b1024.conv1")
    convs = [layer for layer in run.table.convs if layer.name in names]
    for defines, future in zip(("default", *VARIANTS), (None, *built), strict=True):
        path = folder / "librefined_conv.so" if future is None else future.result()
        use_library(library.load(path))
        for layer in convs:
            for row in operator_times(
                layer, 1, (), run.device, run.l2_bytes, run.bandwidth, with_body=False
            ):
                rows.append({"variant": " ".join(defines) if future else defines} | row)
    use_library(library.load(folder / "librefined_conv.so"))
    return rows


def rates(run: Run) -> dict[str, float]:
    return {
        "copy_bytes_per_s": copy_bandwidth(run.device),
        "product_flops_per_s": product_rate(run.device),
    }


def summary(run: Run) -> str:
    """The short table."""
    lines = []
    for name, value in run.results.items():
        if isinstance(value, dict) and ("error" in value or "skipped" in value):
            lines.append(f"{name}: {value.get('error') or value['skipped']}"[:160])
        elif isinstance(value, dict) and "seconds" in value and name != "build":
            ratio = f"  {value['over_roofline']:.2f} x roofline" if "roofline_s" in value else ""
            lines.append(f"{name:42} {value['seconds'] * 1e3:8.3f} ms{ratio}")
        elif isinstance(value, dict) and "relative_error" in value:
            lines.append(f"{name}: {value}")
        elif name.startswith("layers") and isinstance(value, list):
            lines += [
                f"{r['layer']:12} b{r['batch']} {r['residual']:9} kernel {r['kernel_us']:8.1f} us"
                f"  floor {r['floor_us']:7.1f} ({r['of_floor']:.0%})  body {r['body_us']:8.1f}"
                for r in value
                if "layer" in r
            ]
        elif name == "tune" and isinstance(value, list):
            lines += [
                f"{r['layer']:12} {r['residual']:9} {r['of_floor']:.0%} {r['variant']}"
                for r in value
            ]
        elif name.startswith("whole") and isinstance(value, list):
            lines += [
                f"{r['layer']:12} b{r['batch']} whole {r['kernel_us']:8.1f} us"
                f"  grouped {r['grouped_us']:8.1f}"
                for r in value
            ]
    checked = run.value("correctness")
    lines.append(f"correctness: {json.dumps(checked, default=str)[:600]}")
    lines.append(f"rates: {json.dumps(run.value('rates'))}, {run.elapsed:.0f} s in all")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("refined_conv.json"))
    parser.add_argument("--quick", action="store_true", help="correctness and three layers")
    parser.add_argument("--dry-run", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--limit", type=float, default=110, help="seconds; later work is skipped")
    run = Run(parser.parse_args())
    torch.backends.cuda.matmul.allow_tf32 = False
    torch._dynamo.config.recompile_limit = 64
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as folder:
        run.section("machine", machine_facts)
        tuned = run.device == "cuda" and not run.options.quick
        variants = start_variants(Path(folder)) if tuned else []
        run.section("build", lambda: build(run, Path(folder)))
        run.section("correctness", lambda: correctness(run))
        run.section("rates", lambda: rates(run))
        wait(variants)  # compilers would slow what is launched from Python
        torch.backends.cudnn.benchmark = True
        if run.options.quick:
            run.section("layers b1", lambda: layers(run, 1))
        else:
            synthesis_sections(run)
        if variants:
            run.section("tune", lambda: tune(run, Path(folder), variants))
    print(summary(run))


if __name__ == "__main__":
    main()
