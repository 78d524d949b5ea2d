"""Work on many files in which reading the next and writing the last one happen meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from rs_runtime.contracts.errors import RefineStyleError

Item = TypeVar("Item")
_AHEAD = 2  # items read before their turn, and results waiting to be written


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Any],
    work: Callable[[Item, Any], Any],
    write: Callable[[Item, Any], Any],
) -> Iterator[tuple[Item, RefineStyleError | None]]:
    """Reads, works on and writes each item; a failure of one is an outcome like any other.

    Args:
        items: What to do.
        read: Called in a thread, before the item's turn.
        work: Called in the caller's thread with the item and what was read.
        write: Called in another thread with the item and the result.

    Yields:
        Each item in order, once it is written, with the error that ended it or None.
    """
    source = iter(items)
    ahead: deque[tuple[Item, Future[Any]]] = deque()
    behind: deque[tuple[Item, Future[Any]]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        try:
            ahead.extend((item, reader.submit(read, item)) for item in islice(source, _AHEAD))
            while ahead:
                item, found = ahead.popleft()
                ahead.extend((item, reader.submit(read, item)) for item in islice(source, 1))
                behind.append((item, _worked(item, found, work, write, writer)))
                while len(behind) > _AHEAD or (behind and behind[0][1].done()):
                    yield _outcome(*behind.popleft())
            while behind:
                yield _outcome(*behind.popleft())
        finally:
            for _, future in (*ahead, *behind):
                future.cancel()


def _worked(
    item: Item,
    found: Future[Any],
    work: Callable[[Item, Any], Any],
    write: Callable[[Item, Any], Any],
    writer: ThreadPoolExecutor,
) -> Future[Any]:
    try:
        result = work(item, found.result())
    except RefineStyleError as error:
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed
    return writer.submit(write, item, result)


def _outcome(item: Item, future: Future[Any]) -> tuple[Item, RefineStyleError | None]:
    try:
        future.result()
    except RefineStyleError as error:
        return item, error
    return item, None
