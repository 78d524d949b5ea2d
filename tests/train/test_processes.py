"""Several processes that train one model, connected by gloo as torchrun would connect them."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from rs_runtime.contracts.errors import IncompatibleError, RefineStyleError
from rs_train.checkpoint import load_model
from rs_train.loop import run
from tests.train.line import LOOP, Line, LineTask, Numbers

TWO = 2


def join_in(rank, port, folder, loop, config, troubles):
    """Be one of two processes; `troubles` are this rank's options of the task."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(TWO)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    task = LineTask(config, **troubles.get(rank, {}))
    try:
        written = run(task, Numbers(), loop, folder, quiet=True)
        sys.exit(0 if bool(written) == (rank == 0) else 99)
    except RefineStyleError as error:
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def train_two(folder, loop=LOOP, config=None, troubles=None):
    """Train with two processes; return their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (port, folder, loop, config, troubles or {})
    both = [context.Process(target=join_in, args=(rank, *arguments)) for rank in range(TWO)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    return [one.exitcode for one in both]


def weights(path):
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", path.read_text())]


def test_two_processes_follow_one_at_the_same_batch(tmp_path):
    silent = replace(Line(), noise=0.0)
    (alone,) = run(LineTask(silent), Numbers(), LOOP, tmp_path / "one", quiet=True)
    assert train_two(tmp_path / "two", config=silent) == [0, 0]
    together = tmp_path / "two" / "model.txt"
    assert weights(together) == pytest.approx(weights(alone), rel=1e-5, abs=1e-6)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names


def test_processes_draw_different_numbers_and_resume_their_own(tmp_path):
    assert train_two(tmp_path / "whole") == [0, 0]
    stopped = train_two(tmp_path / "parts", troubles={1: {"stop_at": 6}})
    assert stopped == [128 + signal.SIGINT] * TWO, "a signal to one stops both"
    with pytest.raises(IncompatibleError, match="other processes"):
        run(LineTask(), Numbers(), LOOP, tmp_path / "parts", quiet=True)
    assert train_two(tmp_path / "parts") == [0, 0]
    whole, parts = ((tmp_path / name / "model.txt").read_text() for name in ("whole", "parts"))
    assert parts == whole
    run(LineTask(), Numbers(), LOOP, tmp_path / "one", quiet=True)
    assert whole != (tmp_path / "one" / "model.txt").read_text()


def test_not_a_number_in_one_process_stops_both(tmp_path):
    assert train_two(tmp_path, troubles={1: {"fail_at": 6}}) == [7, 7]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-0000004.pt"]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    assert train_two(tmp_path, loop=replace(LOOP, batch_size=5)) == [2, 2]


@pytest.mark.nightly
def test_torchrun_trains_a_generator(tmp_path):
    portraits = tmp_path / "portraits"
    render = "-m rs_train.cli render --count 16 --size 32 --seed 3 --out"
    subprocess.run([sys.executable, *render.split(), portraits], check=True)
    channels = [f"--set={net}.channels=[8,8,8,8]" for net in ("generator", "discriminator")]
    command = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "-m",
        "--",
        "rs_train.cli",
        "generator",
    ]
    command += ["--data", portraits, "--run", tmp_path / "run", "--out", tmp_path / "g.safetensors"]
    command += [*channels, "--set=training.growth=[[32,0]]", "--set=loop.steps=2"]
    subprocess.run([sys.executable, *command, "--set=loop.log_every=1"], check=True)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert load_model(tmp_path / "g.safetensors").config.resolution == 32
