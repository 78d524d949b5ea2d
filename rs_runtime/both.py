"""Two pieces of work at once, where that is worth a thread."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

First = TypeVar("First")
Second = TypeVar("Second")

# One thread cannot use up the memory's speed, but to start another takes as long as to copy 1 MB.
LARGE_BYTES = 1 << 22


def both(
    first: Callable[[], First], second: Callable[[], Second], *, nbytes: int
) -> tuple[First, Second]:
    """Does both, at once if they go through much memory and a CPU is free.

    Args:
        first: Work that leaves the interpreter to others, as NumPy's and OpenCV's does.
        second: Likewise; it is the calling thread that does it.
        nbytes: How much memory the two read or write.

    Returns:
        What the two returned.

    Raises:
        BaseException: What one of them raised. Neither goes on then, unless a signal came while
            ``first`` was waited for, which ends by itself.
    """
    if nbytes < LARGE_BYTES:
        return first(), second()
    to_do = [first]
    outcome: dict[str, Any] = {}
    taking = _thread.allocate_lock()

    def take() -> None:
        with taking:
            if to_do:
                try:
                    outcome["value"] = to_do.pop()()
                except BaseException as error:
                    outcome["error"] = error

    # Not threading.Thread, which waits until the thread has begun: 0.2 ms, or far more where no CPU
    # is free. What the other one has not taken by the end of `second` is done here.
    with suppress(RuntimeError):  # no more threads
        _thread.start_new_thread(take, ())
    try:
        done = second()
    except BaseException:
        to_do.clear()
        raise
    finally:
        take()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"], done
