"""Reading and writing files so that nothing hangs, nothing is trusted and nothing old is lost.

Reading: only regular files, never more than a stated size, the whole file once.
Writing: aside in the same folder, flushed to disk, renamed, folder flushed. A failure at any moment
leaves what was there before. A process that dies leaves its unfinished file behind under a
`.refinestyle-…part` name; it is locked while its writer lives, and the next write of the same name
removes it once the lock is free.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from rs_runtime.contracts.errors import (
    MalformedFileError,
    ResourceError,
    UnsafeFileError,
    UsageError,
)

try:
    import fcntl
except ImportError:  # Windows: unfinished files are then left for the user to remove
    fcntl = None  # type: ignore[assignment]

_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO put there after the check must not block the open
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_WRITE_FLAGS = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_CHUNK = 1 << 22
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})

PathLike = str | os.PathLike[str]


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------------------------------- reading


def read_file(path: PathLike, *, max_bytes: int, what: str) -> bytes:
    """Read a whole regular file of limited size; symbolic links are followed.

    Args:
        path: The file.
        max_bytes: Largest size that is read.
        what: What the file is, for messages: `"token set"`, `"picture"`.

    Returns:
        The bytes; empty for an empty file.

    Raises:
        UsageError: No such path, a NUL in it, or no permission to read it.
        MalformedFileError: A folder, FIFO, socket or device, or a file that changes meanwhile.
        UnsafeFileError: Larger than `max_bytes`.
        ResourceError: The disk fails.
    """
    text = _checked_path(path, what)
    with _read_errors(text, what):
        # A device may act on being opened, so the kind is asked first and again of the open file.
        _require_regular(os.stat(text), text, what)
        descriptor = os.open(text, _READ_FLAGS)
        try:
            return read_descriptor(descriptor, text, max_bytes=max_bytes, what=what)
        finally:
            os.close(descriptor)


def read_descriptor(descriptor: int, name: str, *, max_bytes: int, what: str) -> bytes:
    """Read an open file to its end with the checks of `read_file`.

    Args:
        descriptor: Open for reading, positioned at the start; stays open.
        name: The file's name for messages.
        max_bytes: Largest size that is read.
        what: What the file is.

    Returns:
        The bytes.

    Raises:
        MalformedFileError: Not a regular file, or its size changes while it is read.
        UnsafeFileError: Larger than `max_bytes`.
        OSError: Reading fails.
    """
    status = os.fstat(descriptor)
    _require_regular(status, name, what)
    if status.st_size > max_bytes:
        raise UnsafeFileError(
            f"{name}: too large for a {what}",
            found=f"{status.st_size:,} bytes",
            expected=f"at most {max_bytes:,}",
        )
    parts = []
    left = status.st_size + 1  # one more than stated, so that a growing file is noticed
    while left and (part := os.read(descriptor, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    data = b"".join(parts)
    if len(data) != status.st_size:
        raise MalformedFileError(
            f"{name}: the {what} changed while it was read",
            found=f"{'more' if not left else len(data)} bytes",
            expected=f"{status.st_size:,}",
            hint="wait until it is complete, then run the command again",
        )
    return data


def _checked_path(path: PathLike, what: str) -> str:
    text = os.fspath(path)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is not a path", expected=f"the path of a {what}")
    return text


def _require_regular(status: os.stat_result, name: str, what: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    kind = next((label for test, label in kinds if test(status.st_mode)), "a special file")
    raise MalformedFileError(f"{name}: not a {what}", found=kind, expected="a regular file")


@contextlib.contextmanager
def _read_errors(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{name}: there is no such {what}", hint="check the path") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno == errno.EIO:
            raise ResourceError(f"{name}: the {what} cannot be read", found=reason) from error
        raise UsageError(f"{name}: the {what} cannot be read", found=reason) from error


# ---------------------------------------------------------------------------------------- writing


def write_atomic(path: PathLike, data: bytes) -> None:
    """Write a file completely or not at all.

    A symbolic link is respected: the file it points to is replaced, the link stays. A new file gets
    its permissions from the umask, an existing one keeps its own.

    Args:
        path: The file to write; its folder must exist.
        data: The content.

    Raises:
        UsageError: The path is not one, or names a folder, FIFO or device.
        ResourceError: Not writable, no folder, disk full. The old file is unchanged.
    """
    text = _checked_path(path, "file to write")
    with _write_errors(text):
        target = Path(os.path.realpath(text))
        mode = _replaceable_mode(target, text)
        sweep_leftovers(target)
        descriptor, aside = _create_aside_file(target)
        try:
            try:
                _write_all(descriptor, data)
                if mode is not None:
                    os.chmod(aside, mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(aside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        _sync_folder(target.parent)


@contextlib.contextmanager
def atomic_directory(
    path: PathLike, *, may_replace: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Write a folder completely or not at all.

    Yields an empty folder beside the target. When the block ends normally everything in it is
    flushed and it takes the target's place in one rename (an exchange where something was there and
    the system can exchange, else two renames that are undone on failure); when the block raises it
    is removed and the target is as before. Nobody waits: of two writers the later one wins, whole.

    Args:
        path: The folder to write; its parent must exist. A symbolic link is respected.
        may_replace: Says whether an existing, non-empty folder may be replaced, which deletes its
            content. By default none may.

    Yields:
        The folder to fill.

    Raises:
        UsageError: Something is there that may not be replaced.
        ResourceError: Not writable, or disk full, inside the block too.
    """
    text = _checked_path(path, "folder to write")
    with _write_errors(text):
        target = Path(os.path.realpath(text))
        _restore_swapped_out(target)
        _require_replaceable_folder(target, text, may_replace)
        sweep_leftovers(target)
        lock, aside = _create_aside_folder(target)
    try:
        with _write_errors(text, only=_DISK_ERRORS):
            yield aside
        with _write_errors(text):
            _sync_tree(aside)
            _swap_in(aside, target)
            _sync_folder(target.parent)
    finally:
        # After an exchange this is the old content, after a failure the unfinished new one.
        shutil.rmtree(aside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def sweep_leftovers(target: Path) -> None:
    """Remove what dead writers of `target` left behind; a living writer's lock protects its own."""
    if fcntl is None:
        return
    for leftover in target.parent.glob(f"{_aside_prefix(target)}*.part"):
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, _READ_FLAGS | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            finally:
                os.close(descriptor)


def _aside_prefix(target: Path) -> str:
    # A digest keeps the length fixed: a name may already be as long as the file system allows.
    return f".refinestyle-{sha256_hex(os.fsencode(target.name))[:12]}-"


def _new_aside(target: Path, ending: str = "part") -> Path:
    return target.parent / f"{_aside_prefix(target)}{secrets.token_hex(6)}.{ending}"


def _lock_own(descriptor: int, aside: Path) -> bool:
    """Lock a new aside; False when another writer's sweep was faster and took it for a leftover."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody can sweep there either
        return True
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(aside), os.fstat(descriptor))
    return False


def _create_aside_file(target: Path) -> tuple[int, Path]:
    while True:
        aside = _new_aside(target)
        descriptor = os.open(aside, _WRITE_FLAGS, 0o666)
        if _lock_own(descriptor, aside):
            return descriptor, aside
        os.close(descriptor)


def _create_aside_folder(target: Path) -> tuple[int | None, Path]:
    while True:
        aside = _new_aside(target)
        aside.mkdir()
        if fcntl is None:
            return None, aside
        try:
            descriptor = os.open(aside, _READ_FLAGS)
        except FileNotFoundError:
            continue
        if _lock_own(descriptor, aside):
            return descriptor, aside
        os.close(descriptor)


def _replaceable_mode(target: Path, name: str) -> int | None:
    """Permission bits of the file to replace, None when there is none."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            f"{name}: not written, something other than a regular file is there",
            hint="choose another path",
        )
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the existing file is read-only")
    return stat.S_IMODE(status.st_mode)


def _require_replaceable_folder(
    target: Path, name: str, may_replace: Callable[[Path], bool] | None
) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{name}: not written, a file is there", hint="choose another path")
    if any(target.iterdir()) and not (may_replace and may_replace(target)):
        raise UsageError(
            f"{name}: not written, the folder holds other files that would be lost",
            hint="choose a new or empty folder",
        )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:_CHUNK]) :]


def _swap_in(aside: Path, target: Path) -> None:
    """Put `aside` at `target`; what was there is at `aside` afterwards, or already gone."""
    if not target.exists():
        os.rename(aside, target)
        return
    if _exchange(aside, target):
        return
    swapped_out = _new_aside(target, "old")
    os.rename(target, swapped_out)
    try:
        os.rename(aside, target)
    except BaseException:
        os.rename(swapped_out, target)
        raise
    shutil.rmtree(swapped_out, ignore_errors=True)


def _restore_swapped_out(target: Path) -> None:
    """Finish what a writer that died between its two renames began: old content goes back."""
    for old in target.parent.glob(f"{_aside_prefix(target)}*.old"):
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; False where the system or file system cannot."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or a C library without it
        return False
    at_cwd, exchange = -100, 2
    result = renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange)
    return result == 0


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), _READ_FLAGS)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, _READ_FLAGS)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _write_errors(name: str, only: frozenset[int] | None = None) -> Iterator[None]:
    """Turn an OSError (of the kinds in `only`) into a ResourceError about `name`."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        hints = {
            errno.ENOSPC: "free some disk space and run the command again",
            errno.EDQUOT: "free some disk space and run the command again",
            errno.ENOENT: "make the folder first, or choose another path",
            errno.ENAMETOOLONG: "choose a shorter name",
        }
        raise ResourceError(
            f"{name}: cannot be written",
            found=error.strerror or type(error).__name__,
            hint=hints.get(error.errno or 0, "choose a path that you may write to"),
        ) from error
