"""``rs-run bench``: how long a bundle takes on this machine."""

from __future__ import annotations

import json

import click

from rs_runtime.cli._options import (
    RuntimeOptions,
    runtime_options,
    tell,
    tell_provider,
    write_json,
)
from rs_runtime.contracts.errors import UsageError


@click.command("bench")
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@click.option(
    "--batch",
    "batches",
    default="1,4",
    show_default=True,
    metavar="N,...",
    help="Batch sizes to measure.",
)
@click.option("--out", "-o", metavar="FILE", help="Also write the JSON into a file.")
@runtime_options
def command(
    runs: int,
    batches: str,
    out: str | None,
    options: RuntimeOptions,
) -> None:
    """Time inverting, restyling and mixing; cold start, memory, machine.

    Every job is run once to warm up; times are medians and 95th percentiles.
    """
    from rs_runtime.contracts.files import write_atomic
    from rs_runtime.diagnostics.bench import measure

    sizes = _sizes(batches)
    runtime = options.load()
    facts = measure(runtime, batches=sizes, runs=runs, progress=tell)
    facts["threads"] = options.threads
    if out is not None:
        write_atomic(out, json.dumps(facts, indent=2).encode() + b"\n")
    if options.as_json:
        write_json(facts)
        return
    tell_provider(runtime)
    width = max(map(len, facts["jobs"]))
    for name, own in facts["jobs"].items():
        click.echo(
            f"{name:<{width}}  {own['median_ms']:9.2f} ms, 95 % under {own['p95_ms']:.2f}, "
            f"{own['median_ms_per_picture']:.2f} a picture, "
            f"{own['median_own_ms']:.2f} outside the engine"
        )
    click.echo(
        f"cold start {facts['cold_start_s']:.2f} s to the first picture, "
        f"{facts['cold_start_own_s']:.2f} s of it outside the engine"
    )
    click.echo(f"peak memory of the first picture {facts['first_picture_memory_mb']:.0f} MB")
    click.echo(f"hashing the bundle {facts['hashing_ms']:.0f} ms")
    click.echo(f"peak memory {facts['peak_memory_mb']:.0f} MB")
    if out is not None:
        click.echo(f"wrote {out}")


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or not all(1 <= size <= 1024 for size in sizes):
        raise UsageError(f"--batch {text}: not a list of sizes", expected="for example 1,4,8")
    return sizes
