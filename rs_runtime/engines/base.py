"""What the pipeline asks of an engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

# What an engine calls its verdict on a graph's outputs, see Engine.run.
FINITE = "finite"


class Resident(Protocol):
    """A value in a device's memory."""

    def numpy(self) -> NDArray[Any]:
        """Copies it to the host."""
        ...


Value: TypeAlias = NDArray[Any] | Resident


def as_array(value: Value) -> NDArray[Any]:
    """The value on the host."""
    return value if isinstance(value, np.ndarray) else value.numpy()


class Engine(Protocol):
    """One graph, opened and ready.

    Attributes:
        provider: Short name of the provider that really runs it, for example "cpu".
    """

    provider: str

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Any]:
        """Runs the graph once.

        Args:
            inputs: Every input of the graph by name.
            keep: Outputs that nothing but another graph of the same provider reads. They may stay
                on the device, as ``Resident``; an engine may return arrays all the same.

        Returns:
            Every output of the graph by name, arrays but for those that are kept. An engine that
            goes over the values anyway adds ``FINITE``, bool [N]: whether all of a sample's are.

        Raises:
            IncompatibleError: The graph does not take these inputs.
            ResourceError: Out of memory.
            KeyboardInterrupt: Ctrl-C; the run is stopped within about a second.
        """
        ...


@dataclass(frozen=True)
class EngineOptions:
    """How graphs are opened.

    Attributes:
        provider: "auto", or a provider's short name, which then never falls back.
        threads: CPU threads of one run; None leaves the engine's own default.
    """

    provider: str = "auto"
    threads: int | None = None
