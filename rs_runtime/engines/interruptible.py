"""Long calls into native code that Ctrl-C can end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def interruptible(work: Callable[[], Result], stop: Callable[[], Any]) -> Result:
    """Runs ``work`` so that a signal ends it: signals only reach a main thread that is waiting.

    Args:
        work: What to run; in another thread if this is the main one.
        stop: Asks ``work`` to end soon. Called when a signal came, which is raised once it has.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    outcome: dict[str, Any] = {}
    done = threading.Event()

    def target() -> None:
        try:
            outcome["value"] = work()
        except BaseException as error:
            outcome["error"] = error
        finally:
            done.set()

    threading.Thread(target=target, daemon=True).start()
    try:
        done.wait()  # not join(): an interrupted join takes the thread for ended (CPython < 3.13)
    except BaseException:
        stop()
        done.wait()
        raise
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
