"""What the pipeline asks of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray


class Engine(Protocol):
    """One graph, opened and ready.

    Attributes:
        provider: Short name of the provider that really runs it, for example "cpu".
    """

    provider: str

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the graph once.

        Args:
            inputs: Every input of the graph by name.

        Returns:
            Every output of the graph by name.

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
