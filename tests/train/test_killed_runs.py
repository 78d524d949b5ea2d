"""A run that ends outright at any moment goes on to the very same result."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from rs_runtime.contracts import files
from rs_runtime.contracts.errors import ResourceError
from rs_train import run_log
from rs_train.loop import run
from tests.train.line import LOOP, LineTask, Numbers

# Files are written in this order: checkpoint 4, sample 6, checkpoint 8, sample 12, checkpoint 12,
# record.
SECOND_CHECKPOINT, RECORD = 3, 6


def train(folder):
    return run(LineTask(), Numbers(), LOOP, folder, quiet=True)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_line(log, step, seconds):
    with log._jsonl.open("a") as file:
        file.write('{"step": 8, "sec')
    die()


def half_a_file(stream, data):
    stream.write(data[: len(data) // 2])
    die()


def no_space(stream, data):
    stream.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


MOMENTS = {
    "before the first step": (LineTask, "step", 1, die),
    "between two steps": (LineTask, "step", 7, die),
    "within a step": (torch.optim.Adam, "step", 6, die),
    "in a line of the log": (run_log.RunLog, "write", 4, half_a_line),
    "in a sample": (run_log, "write_atomic", 1, die),
    "in a checkpoint": (files, "_write_all", SECOND_CHECKPOINT, half_a_file),
    "before a checkpoint takes its name": (os, "replace", SECOND_CHECKPOINT, die),
    "before an old checkpoint is removed": (Path, "unlink", 1, die),
    "in the record": (files, "_write_all", RECORD, half_a_file),
    "in the result": (LineTask, "finish", 1, die),
}


def interfere(owner, name, call, act):
    """Let the `call`-th call of a function do something else."""
    original, calls = getattr(owner, name), iter(range(1, 10_000))

    def stand_in(*args, **options):
        return (act if next(calls) == call else original)(*args, **options)

    setattr(owner, name, stand_in)
    return original


def train_until(moment, folder):
    interfere(*MOMENTS[moment])
    train(folder)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a run without any trouble leaves."""
    folder = tmp_path_factory.mktemp("whole")
    (result,) = train(folder)
    return result.read_text(), figures(folder)


def figures(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_bit_by_bit(moment, expected, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    child = context.Process(target=train_until, args=(moment, tmp_path))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    (result,) = train(tmp_path)
    assert result.read_text() == expected[0]
    # A mean that the death cut in two is the mean of the rest; all others are the same.
    seen = figures(tmp_path)
    assert list(seen) == list(expected[1])
    assert sum(seen[step] != expected[1][step] for step in seen) <= 1
    states = sorted(tmp_path.glob("checkpoint-*.pt"))[-2:]
    assert [path.name for path in states] == ["checkpoint-0000008.pt", "checkpoint-0000012.pt"]
    assert [torch.load(path, weights_only=True)["step"] for path in states] == [8, 12]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("call", [SECOND_CHECKPOINT, RECORD])
def test_a_full_disk_loses_nothing(call, expected, tmp_path):
    original = interfere(files, "_write_all", call, no_space)
    try:
        with pytest.raises(ResourceError, match="No space left"):
            train(tmp_path)
    finally:
        files._write_all = original
    assert torch.load(max(tmp_path.glob("checkpoint-*.pt")), weights_only=True)["step"] >= 4
    assert not list(tmp_path.rglob("*.part"))
    (result,) = train(tmp_path)
    assert result.read_text() == expected[0]
