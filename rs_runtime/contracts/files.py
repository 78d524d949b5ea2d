"""Reading and writing files so that nothing hangs, nothing is trusted and nothing old is lost.

Reading: only regular files, never more than a stated size, the whole file once.
Writing: aside in the same folder, flushed to disk, renamed, folder flushed. A failure at any moment
leaves what was there before; how unfinished files are kept and removed is in `aside`.
"""

import contextlib
import errno
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from rs_runtime.contracts.aside import (
    READ_FLAGS,
    create_aside_file,
    create_aside_folder,
    restore_swapped_out,
    swap_in,
    sweep_leftovers,
    sync_folder,
    sync_tree,
)
from rs_runtime.contracts.errors import (
    MalformedFileError,
    ResourceError,
    UnsafeFileError,
    UsageError,
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
    with open_regular(path, what=what) as descriptor:
        return read_descriptor(descriptor, os.fsdecode(path), max_bytes=max_bytes, what=what)


@contextlib.contextmanager
def open_regular(path: PathLike, *, what: str) -> Iterator[int]:
    """Open a regular file for reading; symbolic links are followed.

    Args:
        path: The file.
        what: What the file is, for messages.

    Yields:
        The file descriptor, closed when the block ends. An OSError of the block is taken for a
        failure to read the file.

    Raises:
        UsageError: No such path, a NUL in it, or no permission to read it.
        MalformedFileError: A folder, FIFO, socket or device.
        ResourceError: The disk fails.
    """
    text = _checked_path(path, what)
    with _read_errors(text, what):
        # A device may act on being opened, so the kind is asked first; read_descriptor asks again.
        _require_regular(os.stat(text), text, what)
        descriptor = os.open(text, READ_FLAGS)
        try:
            yield descriptor
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
        sweep_leftovers(target.parent)
        descriptor, aside = create_aside_file(target)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                _write_all(stream, data)
                if mode is not None:
                    os.chmod(aside, mode)
                os.fsync(stream.fileno())
                if os.name == "nt":  # there an open file cannot be renamed, and has no lock
                    stream.close()
                os.replace(aside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        sync_folder(target.parent)


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
        restore_swapped_out(target)
        _require_replaceable_folder(target, text, may_replace)
        sweep_leftovers(target.parent)
        lock, aside = create_aside_folder(target)
    try:
        with _write_errors(text, only=_DISK_ERRORS):
            yield aside
        with _write_errors(text):
            sync_tree(aside)
            swap_in(aside, target)
            sync_folder(target.parent)
    finally:
        # After an exchange this is the old content, after a failure the unfinished new one.
        shutil.rmtree(aside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


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


def _write_all(stream: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write(view[:_CHUNK]) :]


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
