"""The loop: bit-exact resume, figures, interruption, refusals."""

import json
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError, NumericsError
from rs_train.data import batch_indices
from rs_train.loop import LoopConfig, run


@dataclass(frozen=True)
class Line:
    lr: float = 0.1
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=12, batch_size=4))


class LineTask:
    """Fits y = 3x with noise from the global random stream."""

    def __init__(self, config=None, fail_at=None, stop_at=None):
        self.config = config or Line()
        torch.manual_seed(0)
        self.model = torch.nn.Linear(1, 1)
        self.modules = {"model": self.model}
        self.optimizers = {"model": torch.optim.Adam(self.model.parameters(), self.config.lr)}
        self.fail_at, self.stop_at = fail_at, stop_at

    def step(self, step, batch):
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        x = batch["x"][:, None]
        loss = (self.model(x) - 3 * x + 0.1 * torch.randn_like(x)).square().mean()
        self.optimizers["model"].zero_grad()
        loss.backward()
        self.optimizers["model"].step()
        return {"loss": float("nan") if step == self.fail_at else loss.item()}

    def samples(self):
        return np.zeros((4, 4, 3), np.uint8)

    def finish(self, run_dir, record):
        path = run_dir / "model.txt"
        path.write_text(repr(self.model.weight.item()))
        return [path]


class Numbers:
    def __len__(self):
        return 10

    def batch(self, indices):
        return {"x": torch.tensor(indices) / 10}


LOOP = LoopConfig(steps=12, batch_size=4, log_every=2, sample_every=6, checkpoint_every=4)


def train(folder, loop=LOOP, **options):
    return run(LineTask(**options), Numbers(), loop, folder, quiet=True)


def test_a_run_leaves_log_samples_record_and_result(tmp_path):
    (result,) = train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "0000006.png",
        "0000012.png",
    ]
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["steps"] == 12
    assert record["figures"]["loss"] == lines[-1]["loss"]
    assert result.exists()


def test_resume_is_bit_exact(tmp_path):
    (whole,) = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", stop_at=6)
    (parts,) = train(tmp_path / "parts")
    assert parts.read_text() == whole.read_text()
    assert len(list((tmp_path / "parts").glob("checkpoint-*.pt"))) == 2

    def figures(folder):
        rows = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return {row["step"]: row["loss"] for row in map(json.loads, rows)}

    left, right = figures("parts"), figures("whole")
    assert left[12] == right[12]
    assert set(left) <= set(right) | {7}


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"x" * len(data)])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    (whole,) = train(tmp_path)
    expected = whole.read_text()
    newest = max(tmp_path.glob("checkpoint-*.pt"))
    newest.write_bytes(damage(newest.read_bytes()))
    (again,) = train(tmp_path)
    assert again.read_text() == expected


def test_a_log_that_was_cut_in_a_line_goes_on(tmp_path):
    train(tmp_path, loop=replace(LOOP, steps=8))
    log = tmp_path / "metrics.jsonl"
    with log.open("a") as file:
        file.write('{"step": 10, "seco')
    train(tmp_path)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_not_a_number_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(NumericsError, match="loss became nan"):
        train(tmp_path, fail_at=9)
    assert [p.name for p in sorted(tmp_path.glob("checkpoint-*.pt"))] == [
        "checkpoint-0000004.pt",
        "checkpoint-0000008.pt",
    ]


def test_another_configuration_does_not_resume(tmp_path):
    train(tmp_path)
    with pytest.raises(IncompatibleError):
        train(tmp_path, config=replace(Line(), lr=0.2))


def test_more_steps_go_on_from_where_a_run_ended(tmp_path):
    train(tmp_path)
    (longer,) = train(tmp_path, loop=replace(LOOP, steps=20))
    (whole,) = train(tmp_path / "whole", loop=replace(LOOP, steps=20))
    assert longer.read_text() == whole.read_text()


def test_every_epoch_is_a_permutation_of_its_own():
    seen = [batch_indices(10, 5, step, seed=3) for step in range(4)]
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == list(range(10))
    assert seen[:2] != seen[2:]
    assert seen == [batch_indices(10, 5, step, seed=3) for step in range(4)]
    assert len(batch_indices(3, 8, 0, seed=0)) == 8


def test_paths_of_results_are_returned(tmp_path):
    assert train(tmp_path) == [Path(tmp_path / "model.txt")]
