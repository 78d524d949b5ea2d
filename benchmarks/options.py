"""The options that benchmarks on the CPU have in common."""

import argparse
from pathlib import Path


def parser_for(doc: str | None, rounds: int, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with `--json`, `--rounds` and, where the benchmark sets it, `--threads`.

    Args:
        doc: The script's docstring, whose first line says what it measures.
        rounds: Default of `--rounds`.
        threads: Default of `--threads`; None for a script without that option.
    """
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    if threads is not None:
        parser.add_argument("--threads", type=int, default=threads, help=f"default: {threads}")
    return parser
