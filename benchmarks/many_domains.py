"""What many domains in memory cost: bytes beside those of their files, and the time of a mix.

    python benchmarks/many_domains.py --domains 1000 --json FILE

Domains of the published size, rank 256 on the layers of the 1024 x 1024 generator, are read from
files as an application reads them. One process holds two of them, another all; both take turns
adding pairs to a picture's tokens of rank 32. Before each mix other memory is read, as a synthesis
would, so that no domain is still in a cache. Times are those of the thread, without other
programs' turns. Values are random.
"""

import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.options import parser_for
from benchmarks.rounds import medians, publish, ratio
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet, read_token_set, write_token_set
from rs_runtime.diagnostics.machine import machine_facts
from rs_runtime.mixing import PackedTokens, Workspace, neutral

TABLE = LayerTable.from_channels({4 << n: min(512, (1 << 13) >> n) for n in range(9)}, w_dim=512)
RANK = 256
PICTURE_RANK = 32
FINGERPRINT = "0" * 64
_CACHED = 100_000_000  # numbers that are read before each mix


def main() -> None:
    """Parse the options, hold the domains, time mixes, print and write the figures."""
    parser = parser_for(__doc__, rounds=100)
    parser.add_argument("--domains", type=int, default=200, help="how many are held")
    parser.add_argument("--dtype", choices=("F16", "F32"), default="F16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder), options.domains, options.dtype)
        stored = paths[0].stat().st_size
        with holder(paths) as (many, held), holder(paths[:2]) as (few, _):
            seconds = {"2 held": [], "all held": []}
            for _ in range(options.rounds):
                seconds["2 held"].append(few())
                seconds["all held"].append(many())
    report = {
        "domains": options.domains,
        "rank": RANK,
        "numbers": RANK * (TABLE.sum_in + TABLE.sum_out),
        "dtype": options.dtype,
        "file_bytes": stored,
        "resident_bytes_a_domain": round(held["resident"] / options.domains),
        "resident_over_file": round(held["resident"] / options.domains / stored, 4),
        "read_ms_a_domain": round(1000 * held["seconds"] / options.domains, 1),
        "mix_all_held_over_2_held": ratio(seconds, "all held", "2 held"),
        "median_s": medians(seconds),
        "seconds": seconds,
        "machine": machine_facts(),
    }
    publish(report, options.json)


def files(folder: Path, count: int, dtype: str) -> list[Path]:
    """The files of as many domains: one with many names, for what is in it does not matter."""
    rng = np.random.default_rng(0)

    def tokens(width: int) -> np.ndarray:
        return 0.01 * rng.standard_normal((RANK, width), np.float32)

    paths = [folder / f"{n}.tokens" for n in range(count)]
    domain = TokenSet(
        kind="domain",
        name="random",
        P={conv.name: tokens(conv.out_channels) for conv in TABLE.convs},
        Q={conv.name: tokens(conv.in_channels) for conv in TABLE.convs},
        style_offset={},
        modulation={},
        w_plus=None,
        source="random numbers",
        licence="CC0-1.0",
        fingerprint=FINGERPRINT,
        table_hash=TABLE.hash,
        dtype=dtype,
    )
    write_token_set(paths[0], domain)
    for path in paths[1:]:
        os.link(paths[0], path)
    return paths


@contextmanager
def holder(paths: list[Path]) -> Iterator[tuple[Any, dict[str, float]]]:
    """A process that holds the domains of these files.

    Yields:
        A function that mixes two of them and gives the seconds, and what reading them took.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(theirs, paths), daemon=True)
    process.start()

    def mixed() -> float:
        ours.send(True)
        return ours.recv()

    try:
        yield mixed, ours.recv()
    finally:
        ours.send(False)
        process.join()


def hold(connection: Connection, paths: list[Path]) -> None:
    """Reads the domains, tells what they took, and mixes two at random whenever it is asked."""
    picture, workspace = picture_tokens(), Workspace()
    other = np.ones(_CACHED, np.float32)
    before, begun = psutil.Process().memory_info().rss, time.perf_counter()
    domains = [read_token_set(path, table=TABLE, fingerprint=FINGERPRINT) for path in paths]
    spent = time.perf_counter() - begun
    resident = psutil.Process().memory_info().rss - before
    with workspace.mix([[(domains[0], 1.0), (domains[1], 1.0)]], TABLE, onto=picture):
        connection.send({"resident": resident, "seconds": spent})
    while connection.recv():
        pair = [(domain, random.uniform(0.1, 1.0)) for domain in random.sample(domains, 2)]
        other.sum()
        begun = time.thread_time()
        with workspace.mix([pair], TABLE, onto=picture):
            connection.send(round(time.thread_time() - begun, 6))


def picture_tokens() -> PackedTokens:
    """Tokens of one picture."""
    rng = np.random.default_rng(1)
    return neutral(1, TABLE)._replace(
        P=rng.standard_normal((1, PICTURE_RANK, TABLE.sum_out), np.float32),
        Q=rng.standard_normal((1, PICTURE_RANK, TABLE.sum_in), np.float32),
    )


if __name__ == "__main__":
    main()
