"""Writing a folder: all or nothing, the old one kept, nobody's files deleted."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rs_runtime.contracts import aside
from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.contracts.files import atomic_directory


def yes(_: Path) -> bool:
    return True


@pytest.fixture(autouse=True)
def _sweep_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_swept", set())


@pytest.fixture(params=["exchange", "two renames"])
def swapping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of taking the old folder's place."""
    if request.param == "two renames":
        monkeypatch.setattr(aside, "_exchange", lambda *_: False)
    elif sys.platform != "linux":
        pytest.skip("no exchange here")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "graphs").mkdir(parents=True)
    (folder / "graphs" / "a.onnx").write_bytes(b"old")
    return folder


def is_old(folder: Path) -> bool:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return names == ["graphs", "graphs/a.onnx"] and (folder / names[1]).read_bytes() == b"old"


def test_new_folder(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "bundle") as folder:
        assert folder.parent == tmp_path
        assert not (tmp_path / "bundle").exists()
        (folder / "x").write_bytes(b"1")
    assert (tmp_path / "bundle" / "x").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["bundle"]


def test_permissions_by_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_directory(tmp_path / "bundle"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o750


@pytest.mark.usefixtures("swapping")
def test_replace(tmp_path: Path, old: Path) -> None:
    with atomic_directory(old, may_replace=yes) as folder:
        (folder / "x").write_bytes(b"new")
        assert is_old(old)
    assert os.listdir(old) == ["x"]
    assert os.listdir(tmp_path) == ["bundle"]


def test_replace_behind_a_link(tmp_path: Path, old: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(old)
    with atomic_directory(link, may_replace=yes) as folder:
        (folder / "x").touch()
    assert link.is_symlink()
    assert os.listdir(old) == ["x"]
    assert os.listdir(tmp_path / "elsewhere") == ["link"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FileNotFoundError])
def test_failure_inside(tmp_path: Path, old: Path, error: type[BaseException]) -> None:
    def fill_and_fail() -> None:
        with atomic_directory(old, may_replace=yes) as folder:
            (folder / "x").touch()
            raise error

    with pytest.raises(error):
        fill_and_fail()
    assert is_old(old)
    assert os.listdir(tmp_path) == ["bundle"]


def test_failure_of_the_last_rename(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename
    calls = []

    def fail_third(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 3:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(aside, "_exchange", lambda *_: False)
    monkeypatch.setattr(os, "rename", fail_third)
    with pytest.raises(ResourceError), atomic_directory(old, may_replace=yes):
        pass
    assert len(calls) == 4  # straight, old away, new in: refused, old back
    assert is_old(old)
    assert os.listdir(tmp_path) == ["bundle"]


def test_other_folders_are_not_replaced(tmp_path: Path, old: Path) -> None:
    for options in ({}, {"may_replace": lambda folder: folder != old}):
        with pytest.raises(UsageError, match="would be lost"), atomic_directory(old, **options):
            pytest.fail("entered")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="a file is there"), atomic_directory(file):
        pytest.fail("entered")
    with pytest.raises(ResourceError), atomic_directory(tmp_path / "no" / "parent"):
        pytest.fail("entered")
    with pytest.raises(UsageError), atomic_directory(f"{old}\0"):
        pytest.fail("entered")
    assert is_old(old)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "file"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with atomic_directory(tmp_path / "bundle") as folder:
        (folder / "x").touch()
    assert os.listdir(tmp_path / "bundle") == ["x"]


def test_of_two_writers_the_later_wins(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "bundle") as first:
        (first / "first").touch()
        with atomic_directory(tmp_path / "bundle") as second:
            (second / "second").touch()
        assert os.listdir(tmp_path / "bundle") == ["second"]
    assert os.listdir(tmp_path / "bundle") == ["first"]
    assert os.listdir(tmp_path) == ["bundle"]


CHILD = """
    import os, resource, signal, sys
    from rs_runtime.contracts import aside, files
    from rs_runtime.contracts.errors import RefineStyleError

    path, point = sys.argv[1:]
    die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    rename = os.rename
    if point == "flush":
        files.sync_tree = die
    elif point == "swap":
        files.swap_in = die
    elif point == "swapped":
        files.sync_folder = die
    elif point == "between two renames":
        aside._exchange = lambda *_: False
        os.rename = lambda a, b: die() if str(b) == path and os.path.lexists(a) and not (
            os.path.lexists(b)) else rename(a, b)
    elif point == "disk full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        with files.atomic_directory(path, may_replace=lambda _: True) as folder:
            (folder / "x").write_bytes(b"new" * 10_000)
            if point == "inside":
                die()
    except RefineStyleError as error:
        sys.exit(error.exit_code)
"""


def run_child(path: Path, point: str) -> int:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), point]
    return subprocess.run(command, timeout=30).returncode


@pytest.mark.parametrize("point", ["inside", "flush", "swap", "swapped"])
def test_killed(tmp_path: Path, old: Path, point: str) -> None:
    assert run_child(old, point) == -signal.SIGKILL
    if point == "swapped":
        assert os.listdir(old) == ["x"]
    else:
        assert is_old(old)
    assert len(os.listdir(tmp_path)) == 2
    assert run_child(old, "none") == 0
    assert os.listdir(old) == ["x"]
    assert os.listdir(tmp_path) == ["bundle"]


def test_killed_between_two_renames(tmp_path: Path, old: Path) -> None:
    assert run_child(old, "between two renames") == -signal.SIGKILL
    assert not old.exists()  # what a system without exchange cannot avoid
    assert run_child(old, "disk full") == 6  # the next writer, even one that fails, brings it back
    assert is_old(old)
    assert os.listdir(tmp_path) == ["bundle"]


def test_disk_full(tmp_path: Path, old: Path) -> None:
    assert run_child(old, "disk full") == 6
    assert is_old(old)
    assert os.listdir(tmp_path) == ["bundle"]
