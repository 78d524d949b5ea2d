"""Our own engine for the role `synthesis` on CPUs: 3x3 layers in Winograd form (rs_runtime/native).

It computes in fp32, whatever the constants are stored in, and one picture at a time. The other
roles run on an engine for graphs of any kind (`select.companions`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError, ResourceError
from rs_runtime.engines.interruptible import interruptible

PROVIDERS = ("native",)
# What is compiled for every machine computes four numbers at once; other engines do better.
SLOW_INSTRUCTIONS = "baseline"
_FOLDER = Path(__file__).resolve().parents[1] / "native"
_LIBRARY = _FOLDER / f"librefinestyle_native{'.dylib' if sys.platform == 'darwin' else '.so'}"
_HINT = "install a C++ compiler, then the package again; or use --provider auto"
_OUT_OF_MEMORY = 2
_ERROR_BYTES = 1000
_Floats = NDArray[np.float32]


class _Shape(ctypes.Structure):
    """`rs_native_shape` of refinestyle_native.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("size", "num_ws", "w_dim")),
        *((name, ctypes.c_int64) for name in ("sum_out", "sum_in", "style_channels")),
    )


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(_LIBRARY))
    except OSError as error:
        there = _LIBRARY.exists()
        raise ResourceError(
            "the native engine is not there",
            found=str(error) if there else "it was not built when the package was installed",
            hint=_HINT,
        ) from error
    library.rs_native_open.restype = ctypes.c_void_p
    library.rs_native_describe.restype = _Shape
    library.rs_native_instructions.restype = ctypes.c_char_p
    return library


def instructions() -> str:
    """The fastest instruction set that the engine has for this machine.

    Returns:
        "avx512", "avx2" or "baseline".

    Raises:
        ResourceError: The engine is not there.
    """
    return _library().rs_native_instructions().decode()


def available_providers() -> list[str]:
    """Short names of the providers that work on this machine.

    Raises:
        ResourceError: The engine is not there.
    """
    _library()
    return list(PROVIDERS)


def require_built(provider: str) -> None:
    """Raises ResourceError unless the engine is there."""
    _library()


class NativeEngine:
    """A synthesis graph whose constants the engine has taken over.

    Attributes:
        provider: "native".
        label: The graph's name in messages.
    """

    provider = "native"

    def __init__(
        self, label: str, graph: bytes, threads: int | None = None, instructions: str | None = None
    ) -> None:
        """Reads the constants and transforms the kernels.

        Args:
            label: What to call the graph in messages.
            graph: A synthesis graph in any flat form, its constants named as rs-export does.
            threads: Of one run; None takes every CPU that this process may use.
            instructions: "avx512", "avx2" or "baseline"; None takes the fastest.

        Raises:
            ResourceError: The engine, the instructions or memory are missing.
            IncompatibleError: It is no such graph.
        """
        library = _library()
        if threads is None:
            threads = _usable_cpus()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        self.label = label
        self._close = library.rs_native_close
        self._network = library.rs_native_open(
            graph,
            ctypes.c_size_t(len(graph)),
            ctypes.c_int32(threads),
            None if instructions is None else instructions.encode(),
            error,
            ctypes.c_size_t(_ERROR_BYTES),
        )
        if not self._network:
            raise _refused(label, error.value.decode(errors="replace"))
        shape = library.rs_native_describe(ctypes.c_void_p(self._network))
        self._size = shape.size
        # By input, in the order of rs_native_run; L is known only at run time.
        self._shapes: dict[str, tuple[int | str, ...]] = {
            "w_plus": (1, shape.num_ws, shape.w_dim),
            "P": (1, "L", shape.sum_out),
            "Q": (1, "L", shape.sum_in),
            "style_offset": (1, shape.style_channels),
            "modulation": (1, shape.sum_in),
        }

    def run(self, inputs: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
        """Runs the graph once; see ``Engine.run``. Calls of several threads wait for each other."""
        feeds = self._checked(inputs)
        image_float = np.empty((1, 3, self._size, self._size), np.float32)
        image = np.empty((1, self._size, self._size, 3), np.uint8)
        rank = feeds["P"].shape[1]
        network = ctypes.c_void_p(self._network)
        stop = ctypes.c_int32(0)
        arguments = [
            *(_pointer(feeds[name]) for name in self._shapes),
            *(ctypes.c_int32(rank), _pointer(image_float), _pointer(image), ctypes.byref(stop)),
        ]
        status = interruptible(
            lambda: _library().rs_native_run(network, *arguments),
            lambda: setattr(stop, "value", 1),
        )
        if status == _OUT_OF_MEMORY:
            raise ResourceError(
                f"not enough memory to run the graph {self.label!r}",
                hint="use fewer domains at once",
            )
        return {"image": image, "image_float": image_float}

    def __del__(self) -> None:
        """Frees the network."""
        if getattr(self, "_network", None):
            self._close(ctypes.c_void_p(self._network))

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, _Floats]:
        if set(inputs) != set(self._shapes):
            raise IncompatibleError(
                f"the graph {self.label!r} has other inputs than its manifest says",
                found=", ".join(sorted(self._shapes)),
                expected=", ".join(sorted(inputs)),
            )
        rank = max(1, *np.shape(inputs["P"])[1:2])
        for name, shape in self._shapes.items():
            value = inputs[name]
            expected = tuple(rank if side == "L" else side for side in shape)
            if value.dtype != np.float32 or value.shape != expected:
                raise IncompatibleError(
                    f"the native engine cannot run the graph {self.label!r}: input {name}",
                    found=f"{value.dtype} {list(value.shape)}",
                    expected=f"float32 {list(shape)}",
                )
        return {name: np.ascontiguousarray(value) for name, value in inputs.items()}


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _refused(label: str, message: str) -> IncompatibleError | ResourceError:
    if message == "memory":
        return ResourceError(f"not enough memory to open the graph {label!r}")
    what, found, expected = (*message.split("|"), "", "")[:3]
    if not expected:
        return ResourceError(f"the native engine cannot open the graph {label!r}", found=found)
    return IncompatibleError(
        f"the native engine cannot open the graph {label!r}: {what}",
        found=found,
        expected=expected,
        hint="use --provider auto, or export the bundle again with rs-export",
    )
