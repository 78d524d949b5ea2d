"""The one training loop: batches, log, samples, checkpoints, resume, signals, processes."""

import dataclasses
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rs_runtime.contracts.errors import NumericsError
from rs_runtime.contracts.files import write_atomic
from rs_train import processes
from rs_train.config import NotNegative, Positive
from rs_train.data import Pictures, batches
from rs_train.records import environment
from rs_train.run_log import Means, RunLog
from rs_train.run_state import RunState


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how often.

    Attributes:
        steps: Optimisation steps in all.
        batch_size: Items a step, of all processes together.
        seed: Of the data order and of every random draw.
        log_every: Steps between lines of metrics.jsonl (means over them).
        sample_every: Steps between sample grids; 0 for none.
        checkpoint_every: Steps between checkpoints.
        licence: Of the trained weights, written into their files.
    """

    steps: Positive
    batch_size: Positive = 8
    seed: NotNegative = 0
    log_every: Positive = 20
    sample_every: NotNegative = 500
    checkpoint_every: Positive = 500
    licence: str = "not stated"


class Task(Protocol):
    """What is optimised, and nothing else."""

    modules: dict[str, nn.Module]  # everything whose state a checkpoint must hold
    optimizers: dict[str, Optimizer]
    config: Any  # the dataclass that describes the run; a resumed run must have the same

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """Do one optimisation step and return its figures."""

    def samples(self) -> np.ndarray | None:
        """A grid of pictures, uint8 [H, W, 3], or None."""

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the trained models and return their paths."""


def run(
    task: Task, data: Pictures | None, config: LoopConfig, run_dir: Path, *, quiet: bool = False
) -> list[Path]:
    """Train until `config.steps`, resuming what the run folder holds.

    Args:
        task: What to optimise.
        data: Items to draw batches from; None when the task draws its own batches.
        config: Lengths and intervals.
        run_dir: Gets metrics.jsonl, samples/, checkpoints, record.json; created if missing.
        quiet: No progress bar.

    Returns:
        The files that the task wrote at the end.

    Raises:
        NumericsError: A figure became NaN or infinite; the last good checkpoint stays.
        IncompatibleError: The folder holds a run with another configuration.
        UsageError: The batch cannot be shared by the processes.
        KeyboardInterrupt: SIGINT came; the state was saved at a step's end.
        SystemExit: SIGTERM came, likewise; code 143.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    with processes.joined():
        torch.manual_seed(config.seed + processes.rank())
        processes.copy_from_first(task.modules.values())
        lasting = dataclasses.asdict(task.config)
        lasting["loop"] = {"batch_size": config.batch_size, "seed": config.seed}
        state = RunState(run_dir, task.modules, task.optimizers, lasting)
        figures, seconds = _train(task, data, config, state, quiet=quiet)
    if processes.rank():
        return []
    record = environment() | {
        "licence": config.licence,
        "config": dataclasses.asdict(task.config),
        "steps": config.steps,
        "seconds": round(seconds, 1),
        "figures": figures,
    }
    text = json.dumps(record, indent=2, default=str) + "\n"
    write_atomic(run_dir / "record.json", text.encode())
    return task.finish(run_dir, record)


def _train(
    task: Task, data: Pictures | None, config: LoopConfig, state: RunState, *, quiet: bool
) -> tuple[dict[str, float], float]:
    """Do the steps that are left; return the last figures and the seconds spent in all."""
    start, spent = state.restore()
    started = time.monotonic() - spent
    is_first = processes.rank() == 0
    log = RunLog(state.run_dir, start, config.steps, quiet=quiet) if is_first else Means()
    with log, _StopFlag() as stop:
        steps = range(start, config.steps)
        for step, batch in zip(steps, _batches(data, config, start), strict=False):
            figures = processes.average_figures(task.step(step, batch))
            _refuse_non_finite(figures, step, state.run_dir)
            done = step + 1
            log.add(figures)
            code = processes.largest(stop.code)
            if done % config.log_every == 0 or done == config.steps:
                log.write(done, time.monotonic() - started)
            is_shown = config.sample_every and (
                done % config.sample_every == 0 or done == config.steps
            )
            if is_shown and is_first:
                log.picture(done, task.samples())
            if done % config.checkpoint_every == 0 or done == config.steps or code:
                state.save(done, time.monotonic() - started)
            if code:
                raise _interruption(code)
        return log.last, time.monotonic() - started


def _batches(data: Pictures | None, config: LoopConfig, start: int) -> Iterator[dict[str, Tensor]]:
    processes.share(config.batch_size)  # refuses what cannot be shared
    if data is None:
        return itertools.repeat({})
    return batches(data, config.batch_size, config.seed, start, config.steps)


def _refuse_non_finite(figures: dict[str, float], step: int, run_dir: Path) -> None:
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if bad:
        raise NumericsError(
            f"step {step}: {', '.join(bad)} became {figures[bad[0]]}",
            expected="finite figures",
            hint=f"the last good checkpoint is in {run_dir}; lower the learning rate and rerun",
        )


def _interruption(code: int) -> BaseException:
    return KeyboardInterrupt() if code == 128 + signal.SIGINT else SystemExit(code)


class _StopFlag:
    """Turns SIGINT and SIGTERM into a flag; a second signal acts at once."""

    def __enter__(self) -> "_StopFlag":
        self.code = 0
        self._old: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._old[number] = signal.signal(number, self._set)
            except ValueError:  # not the main thread: the caller handles signals
                break
        return self

    def _set(self, number: int, _frame: Any) -> None:
        if self.code:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.code = 128 + number

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
