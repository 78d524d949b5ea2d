"""One run of the GPU measurements: its sections, their results and the file they are kept in."""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks.gpu_synthesis import ffhq_table

RANKS = (32, 288)
BATCHES = (1, 8)


class Run:
    """What is known so far, written to a file after every section."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = "cpu" if options.dry_run else "cuda"
        self.start = time.monotonic()
        self.results: dict[str, Any] = {"mode": vars(options) | {"out": str(options.out)}}
        self.table = ffhq_table(16, 16) if options.dry_run else ffhq_table()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def section(self, name: str, work: Callable[[], Any], needs: float = 0.0) -> None:
        """Run one section, unless fewer than `needs` seconds are left, and write everything."""
        begin = self.elapsed
        if begin + needs > self.options.limit:
            self.results[name] = {"skipped": f"{begin:.0f} s of {self.options.limit} s used"}
        else:
            try:
                self.results[name] = work()
            except Exception as error:
                self.results[name] = {"error": repr(error), "trace": traceback.format_exc()}
                print(f"{name}: {error!r}", file=sys.stderr)
        self.results.setdefault("section_seconds", {})[name] = round(self.elapsed - begin, 2)
        print(f"[{self.elapsed:6.1f} s] {name}", flush=True)
        text = json.dumps(self.results, indent=1, default=str)
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        self.options.out.write_text(text)

    def value(self, *path: str) -> Any:
        """A number from an earlier section, or None."""
        node: Any = self.results
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    @property
    def bandwidth(self) -> float:
        return self.value("rates", "copy_bytes_per_s") or 4.3e12

    @property
    def l2_bytes(self) -> int:
        return self.value("machine", "l2_bytes") or 64 << 20
