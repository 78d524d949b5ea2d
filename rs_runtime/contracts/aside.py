"""Unfinished files and folders beside the target whose place they will take.

They are named `.refinestyle-<digest of the target's name>-<random>.part` and locked while their
writer lives. A writer that dies leaves one behind; the next process that writes into the folder
removes it, as its lock is free.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: unfinished files are then left for the user to remove
    fcntl = None  # type: ignore[assignment]

READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO put there after the check must not block the open
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_WRITE_FLAGS = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_MARK = ".refinestyle-"

# A folder is listed for leftovers once, not for each of ten thousand pictures written into it.
_swept: set[Path] = set()


def sweep_leftovers(folder: Path) -> None:
    """Remove what dead writers left in `folder`, once per process; locks protect living ones.

    Args:
        folder: Where something is about to be written.
    """
    if fcntl is None or folder in _swept:
        return
    for leftover in folder.glob(f"{_MARK}*.part"):
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, READ_FLAGS | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            finally:
                os.close(descriptor)
    _swept.add(folder)


def _aside_prefix(target: Path) -> str:
    # A digest keeps the length fixed: a name may already be as long as the file system allows.
    return f"{_MARK}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"


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


def create_aside_file(target: Path) -> tuple[int, Path]:
    """Create an empty, locked file beside `target`, with permissions from the umask.

    Returns:
        A descriptor open for writing, whose closing frees the lock, and the path.
    """
    while True:
        aside = _new_aside(target)
        descriptor = os.open(aside, _WRITE_FLAGS, 0o666)
        if _lock_own(descriptor, aside):
            return descriptor, aside
        os.close(descriptor)


def create_aside_folder(target: Path) -> tuple[int | None, Path]:
    """Create an empty, locked folder beside `target`.

    Returns:
        A descriptor whose closing frees the lock (None where folders cannot be locked), and the
        path.
    """
    while True:
        aside = _new_aside(target)
        aside.mkdir()
        if fcntl is None:
            return None, aside
        try:
            descriptor = os.open(aside, READ_FLAGS)
        except FileNotFoundError:
            continue
        if _lock_own(descriptor, aside):
            return descriptor, aside
        os.close(descriptor)


def swap_in(aside: Path, target: Path) -> None:
    """Put `aside` at `target`; what was there is at `aside` afterwards, or already gone."""
    try:
        os.rename(aside, target)  # enough where nothing, or an empty folder, is there
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
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


def restore_swapped_out(target: Path) -> None:
    """Finish what a writer that died between its two renames began: old content goes back."""
    for old in target.parent.glob(f"{_aside_prefix(target)}*.old"):
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; False where the system or file system cannot."""
    import ctypes  # slow to load and rarely needed

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or a C library without it
        return False
    at_cwd, exchange = -100, 2
    result = renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange)
    return result == 0


def sync_tree(root: Path) -> None:
    """Flush every file and folder below `root`, and `root`, to disk."""
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), READ_FLAGS)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(folder))


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, so that a rename there survives a power cut."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, READ_FLAGS)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
