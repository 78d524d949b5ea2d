"""A run's log: progress bar, JSONL, TensorBoard, sample pictures."""

import io
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rs_runtime.contracts.files import write_atomic


class Means:
    """Collects a task's figures and shows them to nobody; a context manager."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self._sums: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(self, figures: dict[str, float]) -> None:
        """Take one step's figures; a task may leave some out in some steps."""
        for name, value in figures.items():
            self._sums[name].append(value)

    def write(self, step: int, seconds: float) -> None:
        """Take the means since the last call."""
        self.last = {name: sum(v) / len(v) for name, v in self._sums.items()}
        self._sums.clear()

    def picture(self, step: int, grid: np.ndarray | None) -> None:
        """Take a sample grid, uint8 [H, W, 3]."""


class RunLog(Means):
    """Writes and shows figures and pictures.

    Args:
        run_dir: Gets metrics.jsonl, samples/ and tensorboard/.
        start: Steps done before.
        steps: Steps in all.
        quiet: No progress bar.
    """

    def __init__(self, run_dir: Path, start: int, steps: int, *, quiet: bool) -> None:
        super().__init__()
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

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def add(self, figures: dict[str, float]) -> None:
        """Take one step's figures and move the bar."""
        super().add(figures)
        self._progress.advance(self._bar)

    def write(self, step: int, seconds: float) -> None:
        """Write the means since the last call."""
        super().write(step, seconds)
        line = {"step": step, "seconds": round(seconds, 1), **self.last}
        with self._jsonl.open("a") as file:
            file.write(json.dumps(line) + "\n")
        text = " ".join(f"{name} {value:.4g}" for name, value in self.last.items())
        self._progress.update(self._bar, figures=text)
        if self._board is not None:
            for name, value in self.last.items():
                self._board.add_scalar(name, value, step)

    def picture(self, step: int, grid: np.ndarray | None) -> None:
        """Save a sample grid, uint8 [H, W, 3]; None is no picture."""
        if grid is None:
            return
        self._samples.mkdir(exist_ok=True)
        data = io.BytesIO()
        Image.fromarray(grid).save(data, "PNG")
        write_atomic(self._samples / f"{step:07d}.png", data.getvalue())
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
        write_atomic(self._jsonl, "".join(line + "\n" for line in kept).encode())


def _tensorboard(run_dir: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run_dir / "tensorboard"))
