"""The smallest task that uses everything a run keeps: parameters, optimiser, randomness, order."""

import os
import signal
from dataclasses import dataclass, field

import numpy as np
import torch

from rs_train.loop import LoopConfig
from rs_train.optimizers import minimise

LOOP = LoopConfig(steps=12, batch_size=4, log_every=2, sample_every=6, checkpoint_every=4)


@dataclass(frozen=True)
class Line:
    lr: float = 0.1
    noise: float = 0.1
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=12, batch_size=4))


class LineTask:
    """Fits y = 3x, with noise from the global random stream and an average beside it."""

    def __init__(self, config=None, fail_at=None, stop_at=None):
        self.config = config or Line()
        torch.manual_seed(0)
        self.model = torch.nn.Linear(1, 1)
        self.average = torch.nn.Linear(1, 1).requires_grad_(False)
        self.modules = {"model": self.model, "average": self.average}
        self.optimizers = {"model": torch.optim.Adam(self.model.parameters(), self.config.lr)}
        self.fail_at, self.stop_at = fail_at, stop_at

    def step(self, step, batch):
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        x = batch["x"][:, None]
        noise = self.config.noise * torch.randn_like(x)
        loss = (self.model(x) - 3 * x + noise).square().mean()
        minimise(self.optimizers["model"], [loss])
        with torch.no_grad():
            for average, value in zip(
                self.average.parameters(), self.model.parameters(), strict=True
            ):
                average.lerp_(value, 0.3)
        return {"loss": float("nan") if step == self.fail_at else loss.item()}

    def samples(self):
        return np.zeros((4, 4, 3), np.uint8)

    def finish(self, run_dir, record):
        path = run_dir / "model.txt"
        weights = [p.tolist() for m in self.modules.values() for p in m.parameters()]
        path.write_text(repr(weights))
        return [path]


class Numbers:
    def __len__(self):
        return 10

    def batch(self, indices):
        return {"x": torch.tensor(indices) / 10}
