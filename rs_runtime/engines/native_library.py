"""The native engine's library (rs_runtime/native), loaded once, and what all calls of it share."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError, ResourceError
from rs_runtime.engines.interruptible import interruptible

_FOLDER = Path(__file__).resolve().parents[1] / "native"
_LIBRARY = _FOLDER / f"librefinestyle_native{'.dylib' if sys.platform == 'darwin' else '.so'}"
_HINT = "install a C++ compiler, then the package again; or use --provider auto"
_OUT_OF_MEMORY = 2
_ERROR_BYTES = 1000


class NetworkShape(ctypes.Structure):
    """`rs_native_shape` of refinestyle_native.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("size", "num_ws", "w_dim")),
        *((name, ctypes.c_int64) for name in ("sum_out", "sum_in", "style_channels")),
    )


class TrunkShape(ctypes.Structure):
    """`rs_native_trunk_shape` of refinestyle_native.h."""

    _fields_ = (
        ("channels_in", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("channels", ctypes.c_int32 * 3),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """The library.

    Raises:
        ResourceError: It is not there.
    """
    try:
        loaded = ctypes.CDLL(str(_LIBRARY))
    except OSError as error:
        there = _LIBRARY.exists()
        raise ResourceError(
            "the native engine is not there",
            found=str(error) if there else "it was not built when the package was installed",
            hint=_HINT,
        ) from error
    for opening in (loaded.rs_native_open, loaded.rs_native_trunk_open):
        opening.restype = ctypes.c_void_p
    loaded.rs_native_describe.restype = NetworkShape
    loaded.rs_native_trunk_describe.restype = TrunkShape
    loaded.rs_native_instructions.restype = ctypes.c_char_p
    return loaded


class Handle:
    """What the library has opened; it is closed along with this object."""

    def __init__(
        self,
        opening: Callable[..., int | None],
        closing: Callable[[ctypes.c_void_p], None],
        label: str,
        graph: bytes,
        *more: ctypes.c_int32,
        threads: int | None,
        instructions: str | None,
    ) -> None:
        """Opens a graph.

        Args:
            opening: A function of the library, `rs_native_open` or one like it.
            closing: Its counterpart.
            label: What to call the graph in messages.
            graph: A model.
            more: What the function takes after the graph.
            threads: Of one run; None takes every CPU that this process may use.
            instructions: "avx512", "avx2" or "baseline"; None takes the fastest.

        Raises:
            ResourceError: The instructions or memory are missing.
            IncompatibleError: The engine cannot run such a graph.
        """
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        self.label = label
        self._closing = closing
        self._address = opening(
            graph,
            ctypes.c_size_t(len(graph)),
            *more,
            ctypes.c_int32(_usable_cpus() if threads is None else threads),
            None if instructions is None else instructions.encode(),
            error,
            ctypes.c_size_t(_ERROR_BYTES),
        )
        if not self._address:
            raise _refused(label, error.value.decode(errors="replace"))

    @property
    def pointer(self) -> ctypes.c_void_p:
        """What the library's functions take."""
        return ctypes.c_void_p(self._address)

    def run(self, function: Callable[..., int], *arguments: Any) -> None:
        """Calls a function that takes this handle first and what stops it last.

        Raises:
            ResourceError: Out of memory.
            KeyboardInterrupt: Ctrl-C.
        """
        stop = ctypes.c_int32(0)
        status = interruptible(
            lambda: function(self.pointer, *arguments, ctypes.byref(stop)),
            lambda: setattr(stop, "value", 1),
        )
        if status == _OUT_OF_MEMORY:
            raise ResourceError(
                f"not enough memory to run the graph {self.label!r}",
                hint="use fewer domains at once",
            )

    def __del__(self) -> None:
        """Frees what was opened."""
        if getattr(self, "_address", None):
            self._closing(self.pointer)


def address(array: NDArray[Any]) -> ctypes.c_void_p:
    """Where a contiguous array begins."""
    return ctypes.c_void_p(array.ctypes.data)


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _refused(label: str, message: str) -> IncompatibleError | ResourceError:
    if message == "memory":
        return ResourceError(f"not enough memory to open the graph {label!r}")
    what, found, expected = (*message.split("|"), "", "")[:3]
    failed = f"the native engine cannot open the graph {label!r}: {what}"
    if not expected:
        return ResourceError(failed, found=found)
    return IncompatibleError(
        failed,
        found=found,
        expected=expected,
        hint="use --provider auto, or export the bundle again with rs-export",
    )
