"""No hostile file is executed, and every one is refused."""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from rs_runtime.contracts.errors import (
    MalformedFileError,
    RefineStyleError,
    ResourceError,
    UnsafeFileError,
    UsageError,
)
from rs_train.generator import Generator, GeneratorConfig
from rs_train.importers import sandbox
from rs_train.importers.child import SEAL_BROKEN
from rs_train.importers.sandbox import extract
from tests.train.importers import bombs, genuine, hostile


def canary_of(folder, index):
    """Whether a gadget left its file, or one with an ending of the call's own."""
    pattern = re.compile(rf"gadget-{index}(\D.*)?")
    return any(pattern.fullmatch(path.name) for path in folder.iterdir())


def test_the_gadgets_work_in_an_ordinary_unpickler(run_harness, tmp_path):
    run_harness("control", tmp_path)
    missing = set(range(len(hostile.GADGETS)))
    deadline = time.monotonic() + 10  # some of them start a process and do not wait for it
    while missing and time.monotonic() < deadline:
        missing = {index for index in missing if not canary_of(tmp_path, index)}
        time.sleep(0.05)
    assert [hostile.GADGETS[index][:2] for index in missing] == []


def test_nothing_is_executed(results):
    files, folder = results
    assert len(files) >= 500
    assert list(folder.iterdir()) == []
    assert [file for file in files if file["events"]] == []


def test_everything_is_refused(results):
    files, _ = results
    assert [file for file in files if file["code"] not in (3, 4, 5, 6)] == []
    wrong = [f for f in files if f["expected"] is not None and f["expected"] != f["code"]]
    assert wrong == []


def test_the_refusal_names_what_was_asked_for(results):
    files, _ = results
    named = [file for file in files if file["name"] == "os.system by_global"]
    assert [file["error"].splitlines()[1] for file in named] == [
        "found os.system, expected a checkpoint that can be read without running code"
    ]


@pytest.mark.parametrize("count", [600, pytest.param(50_000, marks=pytest.mark.nightly)])
def test_random_changes_of_genuine_files_do_nothing(run_harness, tmp_path, count):
    config = GeneratorConfig(channels=(4, 4), z_dim=4, w_dim=4, mapping_layers=1)
    state = collections.OrderedDict(a=torch.ones(2, 3), b=torch.zeros(5, dtype=torch.float16))
    saved = {"g_ema": state, "args": argparse.Namespace(size=8), "latent_avg": torch.ones(3)}
    torch.save(saved, tmp_path / "a.pt")
    torch.save(saved, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "c.pkl").write_bytes(genuine.nvidia(Generator(config)))
    found = json.loads(run_harness("mutants", tmp_path, str(count)))
    assert found["events"] == []
    assert set(found["codes"]) <= {"0", "3", "4", "5", "6"}
    assert found["codes"]["3"] > count / 4


@pytest.mark.parametrize(
    "file",
    [
        *list(hostile.gadget_files(lambda index: f"/nowhere/{index}"))[:2],
        *(file for file in bombs.bombs() if file.name != "nested a million deep"),
    ],
    ids=lambda file: file.name,
)
def test_the_real_process_refuses_too(tmp_path, file):
    path = tmp_path / "hostile.pt"
    path.write_bytes(file.data)
    with pytest.raises(RefineStyleError) as error:
        extract(path)
    assert error.value.exit_code in (3, 4, 6)
    assert str(path) in error.value.what


def test_source_text_is_never_run(tmp_path):
    canary = tmp_path / "canary"
    source = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\nclass Generator: pass\n"
    (tmp_path / "source.pkl").write_bytes(hostile.stop(hostile.persistent(b"}", source)))
    assert extract(tmp_path / "source.pkl").tensors == {}
    assert not canary.exists()


def test_waiting_is_limited_too(tmp_path, monkeypatch):
    (tmp_path / "file.pt").write_bytes(b"x")
    monkeypatch.setattr(sandbox, "_PATIENCE", 1e-6)  # less than any start takes
    with pytest.raises(ResourceError, match="of computing"):
        extract(tmp_path / "file.pt")


def test_time_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "_BASE_SECONDS", 0)
    (tmp_path / "slow.pkl").write_bytes(bombs.slow_bomb())
    with pytest.raises(ResourceError, match="longer than 1 s of computing"):
        extract(tmp_path / "slow.pkl")


def test_a_hole_in_the_list_meets_the_seal(tmp_path):
    """Were os.system on the list, the audit hook would end the process before it runs."""
    canary = tmp_path / "canary"
    code = """
        import os, sys
        from rs_train.importers import child, inert
        inert.ALLOWED["os", "system"] = os.system
        child.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), "20", ""],
        input=hostile.control_pickle(0, str(canary)),
        capture_output=True,
    )
    # A pipe is no regular file: the same bytes again, as a file.
    assert b"not a checkpoint" in done.stdout
    path = tmp_path / "hostile.pkl"
    path.write_bytes(hostile.control_pickle(0, str(canary)))
    with path.open("rb") as stream:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), "20", ""],
            stdin=stream,
            capture_output=True,
        )
    assert (done.returncode, done.stderr) == (SEAL_BROKEN, b"os.system")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import os; os._exit(97)", UnsafeFileError),
        ("import os; os.abort()", UnsafeFileError),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ResourceError),
        ("raise MemoryError", ResourceError),
        ("print('nonsense' * 1000)", MalformedFileError),
        ("", MalformedFileError),
    ],
)
def test_whatever_becomes_of_the_process_is_an_error(tmp_path, monkeypatch, code, kind):
    (tmp_path / "file.pt").write_bytes(b"x")

    def start(descriptor, seconds, family):
        return subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    monkeypatch.setattr(sandbox, "_start", start)
    with pytest.raises(kind):
        extract(tmp_path / "file.pt")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x40\0\0\0\0\0\0\0{", "a safetensors file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
    ],
)
def test_other_kinds_of_files_are_told_apart(tmp_path, data, found):
    (tmp_path / "file.pt").write_bytes(data)
    with pytest.raises(MalformedFileError) as error:
        extract(tmp_path / "file.pt")
    assert error.value.found == found
    assert error.value.hint


def test_special_files_and_missing_ones(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(MalformedFileError, match="not a checkpoint"):
        extract(tmp_path / "fifo")
    with pytest.raises(UsageError, match="no such checkpoint"):
        extract(tmp_path / "missing.pt")
