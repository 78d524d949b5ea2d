"""What a run needs to go on bit by bit: its checkpoints, written aside and read without code."""

import hashlib
import io
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.files import write_atomic
from rs_train import processes

_KEPT_CHECKPOINTS = 2


class RunState:
    """The checkpoints of one run.

    Args:
        run_dir: Where they are.
        modules: Networks by name.
        optimizers: Optimisers by name.
        config: What must be the same when the run goes on; JSON values.
    """

    def __init__(
        self,
        run_dir: Path,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        config: dict[str, Any],
    ) -> None:
        self.run_dir = run_dir
        self.modules = modules
        self.optimizers = optimizers
        self.hash = _hash(config | {"device": _kind_of_device(modules)})

    def save(self, step: int, seconds: float) -> None:
        """Write a checkpoint and remove all but the last two; every process calls it."""
        processes.average_buffers(self.modules.values())
        random = processes.gathered([torch.get_rng_state(), torch.cuda.get_rng_state_all()])
        if processes.rank():
            return
        state = {
            "step": step,
            "seconds": seconds,
            "config_hash": self.hash,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "random": random,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(self.run_dir / f"checkpoint-{step:07d}.pt", buffer.getvalue())
        for old in self._checkpoints()[:-_KEPT_CHECKPOINTS]:
            old.unlink()

    def restore(self) -> tuple[int, float]:
        """Load the newest readable checkpoint; return its step and the seconds spent so far.

        Raises:
            IncompatibleError: The folder holds another run, or one of more or fewer processes.
        """
        for path in reversed(self._checkpoints()):
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
                print(f"{path}: unreadable, trying the one before", file=sys.stderr)
                continue
            self._check(state)
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            own, of_gpus = state["random"][processes.rank()]
            torch.set_rng_state(own)
            torch.cuda.set_rng_state_all(of_gpus)
            return state["step"], state["seconds"]
        return 0, 0.0

    def _check(self, state: dict[str, Any]) -> None:
        if state["config_hash"] != self.hash:
            raise IncompatibleError(
                f"{self.run_dir} holds a run with another configuration",
                expected="the options and the kind of device that it was started with",
                hint="choose another --run folder, or delete this one",
            )
        if len(state["random"]) != processes.count():
            raise IncompatibleError(
                f"{self.run_dir} holds a run of other processes",
                found=f"{processes.count()} processes",
                expected=f"{len(state['random'])}, as when it was started",
                hint="start as many again, or choose another --run folder",
            )

    def _checkpoints(self) -> list[Path]:
        return sorted(self.run_dir.glob("checkpoint-*.pt"))


def _hash(config: dict[str, Any]) -> str:
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _kind_of_device(modules: Mapping[str, nn.Module]) -> str:
    parameters = (parameter for module in modules.values() for parameter in module.parameters())
    return next(parameters).device.type
