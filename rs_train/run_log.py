"""A run's log: progress bar, JSONL, TensorBoard, sample pictures."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunLog:
    """Collects a task's figures and shows them; a context manager."""

    def __init__(self, run_dir: Path, start: int, steps: int, *, quiet: bool) -> None:
        self.last: dict[str, float] = {}
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._samples = run_dir / "samples"
        self._jsonl = run_dir / "metrics.jsonl"
        self._forget_after(start)
        self._board = _tensorboard(run_dir)
        console = Console(file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._bar = self._progress.add_task(run_dir.name, total=steps, completed=start, figures="")

    def __enter__(self) -> "RunLog":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def add(self, figures: dict[str, float]) -> None:
        """Take one step's figures; a task may leave some out in some steps."""
        for name, value in figures.items():
            self._sums[name].append(value)
        self._progress.advance(self._bar)

    def write(self, step: int, seconds: float) -> None:
        """Write the means since the last call."""
        self.last = {name: sum(v) / len(v) for name, v in self._sums.items()}
        self._sums.clear()
        line = {"step": step, "seconds": round(seconds, 1), **self.last}
        with self._jsonl.open("a") as file:
            file.write(json.dumps(line) + "\n")
        text = " ".join(f"{name} {value:.4g}" for name, value in self.last.items())
        self._progress.update(self._bar, figures=text)
        if self._board is not None:
            for name, value in self.last.items():
                self._board.add_scalar(name, value, step)

    def picture(self, step: int, grid: np.ndarray | None) -> None:
        """Save a sample grid, uint8 [H, W, 3]."""
        if grid is None:
            return
        self._samples.mkdir(exist_ok=True)
        Image.fromarray(grid).save(self._samples / f"{step:07d}.png")
        if self._board is not None:
            self._board.add_image("samples", grid, step, dataformats="HWC")

    def _forget_after(self, start: int) -> None:
        # A killed run may have logged steps beyond its last checkpoint; they will come again.
        if not self._jsonl.exists():
            return
        kept = []
        for line in self._jsonl.read_text().splitlines():
            try:
                logged = json.loads(line)
            except ValueError:  # the process was killed while it wrote this line, the last one
                break
            if logged["step"] <= start:
                kept.append(line)
                self.last = {k: v for k, v in logged.items() if k not in ("step", "seconds")}
        self._jsonl.write_text("".join(line + "\n" for line in kept))


def _tensorboard(run_dir: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run_dir / "tensorboard"))
