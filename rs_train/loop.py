"""The one training loop: batches, log, samples, checkpoints, resume, signals."""

import dataclasses
import hashlib
import io
import itertools
import json
import math
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rs_runtime.contracts.errors import IncompatibleError, NumericsError
from rs_runtime.contracts.files import write_atomic
from rs_train.data import Pictures, batches
from rs_train.records import environment
from rs_train.run_log import RunLog

_KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how often.

    Attributes:
        steps: Optimisation steps in all.
        batch_size: Items a step.
        seed: Of the data order and of every random draw.
        log_every: Steps between lines of metrics.jsonl (means over them).
        sample_every: Steps between sample grids; 0 for none.
        checkpoint_every: Steps between checkpoints.
        licence: Of the trained weights, written into their files.
    """

    steps: int
    batch_size: int = 8
    seed: int = 0
    log_every: int = 20
    sample_every: int = 500
    checkpoint_every: int = 500
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
        KeyboardInterrupt: SIGINT came; the state was saved at a step's end.
        SystemExit: SIGTERM came, likewise; code 143.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    start, spent = _resume(task, config, run_dir)
    started = time.monotonic() - spent
    with RunLog(run_dir, start, config.steps, quiet=quiet) as log, _StopFlag() as stop:
        steps = range(start, config.steps)
        for step, batch in zip(steps, _batches(data, config, start), strict=False):
            figures = task.step(step, batch)
            _refuse_non_finite(figures, step, run_dir)
            done = step + 1
            log.add(figures)
            if done % config.log_every == 0 or done == config.steps:
                log.write(done, time.monotonic() - started)
            if config.sample_every and (done % config.sample_every == 0 or done == config.steps):
                log.picture(done, task.samples())
            if done % config.checkpoint_every == 0 or done == config.steps or stop.code:
                _save(task, config, run_dir, done, time.monotonic() - started)
            if stop.code:
                raise _interruption(stop.code)
        record = environment() | {
            "licence": config.licence,
            "config": dataclasses.asdict(task.config),
            "steps": config.steps,
            "seconds": round(time.monotonic() - started, 1),
            "figures": log.last,
        }
    text = json.dumps(record, indent=2, default=str) + "\n"
    write_atomic(run_dir / "record.json", text.encode())
    return task.finish(run_dir, record)


def _batches(data: Pictures | None, config: LoopConfig, start: int) -> Iterator[dict[str, Tensor]]:
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


def _config_hash(task: Task, config: LoopConfig) -> str:
    # The length and the reporting may change between resumed runs, the rest may not.
    data = dataclasses.asdict(task.config)
    data["loop"] = {"batch_size": config.batch_size, "seed": config.seed}
    data["device"] = next(next(iter(task.modules.values())).parameters()).device.type
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def _save(task: Task, config: LoopConfig, run_dir: Path, step: int, seconds: float) -> None:
    state = {
        "step": step,
        "seconds": seconds,
        "config_hash": _config_hash(task, config),
        "modules": {name: module.state_dict() for name, module in task.modules.items()},
        "optimizers": {name: o.state_dict() for name, o in task.optimizers.items()},
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(run_dir / f"checkpoint-{step:07d}.pt", buffer.getvalue())
    for old in _checkpoints(run_dir)[:-_KEPT_CHECKPOINTS]:
        old.unlink()


def _checkpoints(run_dir: Path) -> list[Path]:
    return sorted(run_dir.glob("checkpoint-*.pt"))


def _resume(task: Task, config: LoopConfig, run_dir: Path) -> tuple[int, float]:
    """Restore the newest readable checkpoint; return its step and the seconds spent so far."""
    for path in reversed(_checkpoints(run_dir)):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
            print(f"{path}: unreadable, trying the one before", file=sys.stderr)
            continue
        if state["config_hash"] != _config_hash(task, config):
            raise IncompatibleError(
                f"{run_dir} holds a run with another configuration",
                expected="the options and the kind of device that it was started with",
                hint="choose another --run folder, or delete this one",
            )
        for name, module in task.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in task.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        torch.set_rng_state(state["rng"])
        torch.cuda.set_rng_state_all(state["cuda_rng"])
        return state["step"], state["seconds"]
    return 0, 0.0


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
