"""File access: nothing hangs, nothing large is read, and a write that fails loses nothing."""

import errno
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rs_runtime.contracts import aside, files
from rs_runtime.contracts.errors import (
    MalformedFileError,
    RefineStyleError,
    ResourceError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.files import read_file, sha256_hex, write_atomic


def run_python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which may limit or kill itself."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.fixture(autouse=True)
def _sweep_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_swept", set())


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


# ---------------------------------------------------------------------------------------- reading


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    assert read_file(path, max_bytes=3, what="note") == b"abc"
    assert read_file(str(tmp_path / "link"), max_bytes=3, what="note") == b"abc"
    path.write_bytes(b"")
    assert read_file(path, max_bytes=0, what="note") == b""
    path.write_bytes(b"abcd")
    with pytest.raises(
        UnsafeFileError, match="too large for a note\nfound 4 bytes, expected at most 3"
    ):
        read_file(path, max_bytes=3, what="note")


def _special(tmp_path: Path, kind: str) -> str:
    path = tmp_path / kind
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "loop":
            path.symlink_to(path)
        case "link to fifo":
            os.mkfifo(tmp_path / "target")
            path.symlink_to(tmp_path / "target")
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
        case "below a file":
            path.touch()
            return f"{path}/x"
        case "zero" | "full":
            return f"/dev/{kind}"
        case "NUL":
            return f"{path}\0.png"
        case "empty":
            return ""
        case "long":
            return str(tmp_path / ("x" * 300))
    return str(path)


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("folder", MalformedFileError, "a folder"),
        ("fifo", MalformedFileError, "a FIFO"),
        ("link to fifo", MalformedFileError, "a FIFO"),
        ("socket", MalformedFileError, "a socket"),
        ("zero", MalformedFileError, "a device"),
        ("loop", UsageError, "cannot be read"),
        ("dangling", UsageError, "no such note"),
        ("missing", UsageError, "no such note"),
        ("below a file", UsageError, "no such note"),
        ("NUL", UsageError, "not a path"),
        ("empty", UsageError, "not a path"),
        ("long", UsageError, "cannot be read"),
    ],
)
def test_read_refuses_quickly(
    tmp_path: Path, kind: str, error: type[RefineStyleError], reason: str
) -> None:
    path = _special(tmp_path, kind)

    def give_up(*_: object) -> None:
        pytest.fail("hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    start = time.process_time()
    try:
        with pytest.raises(error, match=reason):
            read_file(path, max_bytes=1 << 40, what="note")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_read_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o000)
    with pytest.raises(UsageError, match="Permission denied"):
        read_file(path, max_bytes=1, what="note")


@pytest.mark.parametrize("change", ["shrinks", "grows"])
def test_read_notices_a_file_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    real = os.fstat

    def then_change(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        os.truncate(path, 50 if change == "shrinks" else 150)
        return status

    monkeypatch.setattr(os, "fstat", then_change)
    with pytest.raises(MalformedFileError, match="changed while it was read"):
        read_file(path, max_bytes=1000, what="note")


def test_sha256() -> None:
    assert sha256_hex(b"abc").startswith(
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f2"
    )


# ---------------------------------------------------------------------------------------- writing


@pytest.mark.usefixtures("umask")
def test_write_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_atomic(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a"]


def test_write_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    link = tmp_path / "link"
    link.symlink_to(target)
    for data in (b"new", b"newer"):  # first dangling, then existing
        write_atomic(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data
    assert os.listdir(tmp_path / "folder") == ["target"]


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "full", "NUL", "empty"])
def test_write_refuses_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = _special(tmp_path, kind)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError):
        write_atomic(path, b"x")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no/such/folder", "make the folder first"),
        ("x" * 300, "shorter name"),
        ("/proc/refinestyle", "cannot be written"),
    ],
)
def test_write_where_it_cannot(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ResourceError, match=reason):
        write_atomic(tmp_path / name, b"x")


def test_write_leaves_a_read_only_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root would be let through
    with pytest.raises(ResourceError, match="read-only"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


def test_order_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        size = os.fstat(descriptor).st_size
        events.append("fsync folder" if is_folder else f"fsync file of {size}")
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent == tmp_path
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomic(tmp_path / "a", b"x" * 7)
    assert events == ["fsync file of 7", "rename", "fsync folder"]


DISK_FULL = """
    import resource, signal, sys
    from rs_runtime.contracts.errors import ResourceError
    from rs_runtime.contracts.files import write_atomic

    path, size = sys.argv[1], 10_000_000
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for i in range(20):
        resource.setrlimit(resource.RLIMIT_FSIZE, (i * size // 20, hard))
        try:
            write_atomic(path, b"n" * size)
        except ResourceError as error:
            assert error.found, error
        else:
            sys.exit("written")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


def test_disk_full_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    result = run_python(DISK_FULL, path)
    assert result.returncode == 0, result.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_failure_of_the_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match=os.strerror(code)) as caught:
        write_atomic(path, b"new")
    assert caught.value.exit_code == 6
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


KILLED = """
    import os, signal, sys
    from rs_runtime.contracts import files

    path, point = sys.argv[1:]
    die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    def half(stream, data):
        stream.write(data[: len(data) // 2])
        die()
    target, name, action = {
        "created": (files, "_write_all", die),
        "half written": (files, "_write_all", half),
        "written": (os, "fsync", die),
        "flushed": (os, "replace", die),
        "renamed": (files, "sync_folder", die),
    }[point]
    setattr(target, name, action)
    files.write_atomic(path, b"new" * 1000)
"""


@pytest.mark.parametrize("point", ["created", "half written", "written", "flushed", "renamed"])
def test_killed_while_writing(tmp_path: Path, point: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    assert run_python(KILLED, path, point).returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"new" * 1000 if point == "renamed" else b"old")
    assert len(os.listdir(tmp_path)) == (1 if point == "renamed" else 2)
    write_atomic(tmp_path / "another", b"")  # any next writer in the folder cleans up
    assert sorted(os.listdir(tmp_path)) == ["a", "another"]


def test_killed_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    code = """
        import sys
        from rs_runtime.contracts.files import write_atomic
        print("ready", flush=True)
        while True:
            for letter in b"abc":
                write_atomic(sys.argv[1], bytes([letter]) * 300_000)
    """
    rng = random.Random(1)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE
        )
        child.stdout.readline()
        time.sleep(0.05 + rng.random() * 0.05)
        child.kill()
        child.communicate()
        data = path.read_bytes()
        assert len(data) == 300_000
        assert len(set(data)) == 1
    write_atomic(path, b"end")
    assert os.listdir(tmp_path) == ["a"]


def test_a_living_writer_is_not_swept(tmp_path: Path) -> None:
    descriptor, unfinished = aside.create_aside_file(tmp_path / "a")
    write_atomic(tmp_path / "a", b"other writer")
    assert unfinished.exists()
    os.close(descriptor)
    files.sweep_leftovers(tmp_path)
    assert unfinished.exists(), "a folder is swept once per process"
    aside._swept.clear()
    files.sweep_leftovers(tmp_path)
    assert not unfinished.exists()


def test_leftovers_that_are_links_are_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep")
    (tmp_path / ".refinestyle-0-0.part").symlink_to(precious)
    write_atomic(tmp_path / "a", b"x")
    assert precious.read_bytes() == b"keep"
