"""Two pieces of work at once: what comes back, and when."""

import _thread
import signal
import threading
import time

import pytest

from rs_runtime.both import LARGE_BYTES, both


def never():
    raise AssertionError("nobody asked for this")


def test_little_work_is_done_in_turn_by_the_caller():
    order = []
    own = threading.get_ident()
    found = both(
        lambda: order.append(1) or threading.get_ident(),
        lambda: order.append(2) or threading.get_ident(),
        nbytes=LARGE_BYTES - 1,
    )
    assert found == (own, own) and order == [1, 2]


def test_much_is_done_at_once():
    meeting = threading.Barrier(2)

    def work() -> int:
        meeting.wait(30)
        return threading.get_ident()

    other, own = both(work, work, nbytes=LARGE_BYTES)
    assert own == threading.get_ident() != other


@pytest.mark.parametrize("nbytes", [0, LARGE_BYTES])
def test_what_either_raises_is_raised_once_both_have_ended(nbytes):
    ended = []

    def slow():
        time.sleep(0.05)
        ended.append(1)

    def fail(begun: threading.Event):
        begun.set()
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        both(lambda: fail(threading.Event()), slow, nbytes=nbytes)
    assert len(ended) == (nbytes > 0)
    begun = threading.Event()
    with pytest.raises(KeyError, match="here"):
        both(
            lambda: begun.set() or slow(),
            lambda: fail(threading.Event()) if begun.wait(30) else None,
            nbytes=nbytes,
        )
    assert len(ended) == 1 + (nbytes > 0)


def test_without_another_thread_the_caller_does_both(monkeypatch):
    def no_more(*_):
        raise RuntimeError("can't start new thread")

    own = threading.get_ident()
    late = []
    for start in (no_more, lambda work, _: late.append(work)):
        monkeypatch.setattr(_thread, "start_new_thread", start)
        assert both(threading.get_ident, lambda: 2, nbytes=LARGE_BYTES) == (own, 2)
        with pytest.raises(KeyError):
            both(lambda: {}["first"], lambda: 2, nbytes=LARGE_BYTES)
        with pytest.raises(KeyError):
            both(never, lambda: {}["second"], nbytes=LARGE_BYTES)
    assert len(late) == 3
    for work in late:
        work()  # finds nothing to do


def test_ctrl_c_waits_for_what_has_begun():
    begun, ended = threading.Event(), threading.Event()

    def first():
        begun.set()
        time.sleep(0.05)
        ended.set()

    def second():
        assert begun.wait(30)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        both(first, second, nbytes=LARGE_BYTES)
    assert ended.is_set()


def test_no_thread_is_left():
    before = _thread._count()
    for _ in range(200):
        both(lambda: 1, lambda: 2, nbytes=LARGE_BYTES)
    for _ in range(100):
        if _thread._count() <= before:
            break
        time.sleep(0.01)
    assert _thread._count() <= before
