"""Our own engine for CPUs: 3x3 layers in Winograd form (rs_runtime/native).

It computes in fp32, whatever the constants are stored in, and one picture at a time: the role
`synthesis` wholly, and the trunk of encoders. The rest runs on an engine for graphs of any kind
(`select.companions`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.engines.base import FINITE, Engine, Value, as_array
from rs_runtime.engines.cut import cut
from rs_runtime.engines.native_library import Handle, address, library

PROVIDERS = ("native",)
# What is compiled for every machine computes four numbers at once; other engines do better.
SLOW_INSTRUCTIONS = "baseline"
_PICTURE = "trunk.picture"
# Maps that a trunk ends in, and how much smaller than the picture they are.
_TAPS = {"trunk.quarter": 4, "trunk.eighth": 8, "trunk.sixteenth": 16}

Shapes: TypeAlias = Mapping[str, Sequence[int | str]]
# Opens a part of a graph with another engine: its label, the part, shapes of its inputs.
OpenPart: TypeAlias = Callable[[str, bytes, Shapes], Engine]


def instructions() -> str:
    """The fastest instruction set that the engine has for this machine.

    Returns:
        "avx512", "avx2" or "baseline".

    Raises:
        ResourceError: The engine is not there.
    """
    return library().rs_native_instructions().decode()


def available_providers() -> list[str]:
    """Short names of the providers that work on this machine.

    Raises:
        ResourceError: The engine is not there.
    """
    library()
    return list(PROVIDERS)


def require_built(provider: str) -> None:
    """Raises ResourceError unless the engine is there."""
    library()


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
        own = library()
        self.label = label
        self._network = Handle(
            own.rs_native_open,
            own.rs_native_close,
            label,
            graph,
            threads=threads,
            instructions=instructions,
        )
        shape = own.rs_native_describe(self._network.pointer)
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
        finite = np.empty(1, np.bool_)
        self._network.run(
            library().rs_native_run,
            *(address(feeds[name]) for name in self._shapes),
            ctypes.c_int32(feeds["P"].shape[1]),
            *(address(output) for output in (image_float, image, finite)),
        )
        return {"image": image, "image_float": image_float, FINITE: finite}

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
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


class NativeEncoder:
    """An encoder's graph: its trunk is ours, what comes before and after is another engine's.

    Attributes:
        provider: "native".
        label: The graph's name in messages.
    """

    provider = "native"

    def __init__(
        self,
        label: str,
        graph: bytes,
        shapes: Shapes,
        open_part: OpenPart,
        threads: int | None = None,
        instructions: str | None = None,
    ) -> None:
        """Transforms the trunk's kernels and opens the two parts.

        Args:
            label: What to call the graph in messages.
            graph: An encoder's graph, its trunk named as rs-export does.
            shapes: Of the graph's inputs by name; `image` is [1, S, S, 3].
            open_part: Opens what comes before the trunk, and after it.
            threads: Of one run of the trunk; None takes every CPU that this process may use.
            instructions: "avx512", "avx2" or "baseline"; None takes the fastest.

        Raises:
            ResourceError: An engine, the instructions or memory are missing.
            IncompatibleError: It is no such graph.
        """
        own = library()
        size = int(shapes["image"][1])
        self.label = label
        self._trunk = Handle(
            own.rs_native_trunk_open,
            own.rs_native_trunk_close,
            label,
            graph,
            ctypes.c_int32(size),
            threads=threads,
            instructions=instructions,
        )
        shape = own.rs_native_trunk_describe(self._trunk.pointer)
        self._picture = (1, shape.channels_in, size, size)
        self._taps = {
            name: (1, channels, size // step, size // step)
            for (name, step), channels in zip(_TAPS.items(), shape.channels, strict=True)
        }
        before = cut(graph, {}, {_PICTURE: self._picture})
        after = cut(graph, self._taps, {})
        self._before = open_part(f"{label}, before its trunk", before, shapes)
        self._after = open_part(f"{label}, after its trunk", after, self._taps)

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Any]:
        """Runs the graph once; see ``Engine.run``. The trunk serves one thread at a time."""
        picture = np.ascontiguousarray(as_array(self._before.run(inputs)[_PICTURE]), np.float32)
        if picture.shape != self._picture:
            raise IncompatibleError(
                f"the native engine cannot run the graph {self.label!r}: its trunk's picture",
                found=str(list(picture.shape)),
                expected=str(list(self._picture)),
            )
        taps = {name: np.empty(shape, np.float32) for name, shape in self._taps.items()}
        self._trunk.run(
            library().rs_native_trunk_run,
            address(picture),
            *(address(tap) for tap in taps.values()),
        )
        return self._after.run(taps, keep)
