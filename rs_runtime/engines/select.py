"""Which engine and provider run a bundle."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from difflib import get_close_matches

from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.engines.base import Engine, EngineOptions

_log = logging.getLogger("rs_runtime")


class EngineSelection:
    """Opens graphs with the provider asked for, or with one that ``auto`` found and keeps.

    Attributes:
        provider: The provider in use; None while ``auto`` has not yet opened a graph.
        note: One line on what was chosen and why; empty until then, or if the user named it.
    """

    def __init__(self, options: EngineOptions) -> None:
        """Checks the request; opens nothing yet.

        Raises:
            UsageError: No such provider.
            ResourceError: The named provider is not installed.
        """
        from rs_runtime.engines import onnxruntime_engine as engine

        known = list(engine.PROVIDERS)
        if options.provider != "auto" and options.provider not in known:
            near = get_close_matches(options.provider, known)
            raise UsageError(
                f"unknown provider {options.provider!r}",
                expected=", ".join(["auto", *known]),
                hint=f"did you mean {near[0]}?" if near else "",
            )
        if options.threads is not None and options.threads < 1:
            raise UsageError("threads must be at least 1", found=str(options.threads))
        self.note = ""
        self.provider = None if options.provider == "auto" else options.provider
        if self.provider is not None:
            engine.require_built(self.provider)
        self._built = engine.available_providers()
        self._order = [name for name in engine.AUTO_ORDER if name in self._built]
        self._open = functools.partial(engine.OnnxRuntimeEngine, threads=options.threads)

    def open(self, label: str, graph_for: Callable[[str], bytes]) -> Engine:
        """Opens a graph from its bytes.

        Args:
            label: What to call the graph in messages.
            graph_for: Gives the ONNX model that suits a provider, its weights inside.

        Raises:
            ResourceError: The provider does not start.
            IncompatibleError: The engine refuses the graph.
        """
        if self.provider is not None:
            return self._open(label, graph_for(self.provider), provider=self.provider)
        failures = []
        for name in self._order:
            try:
                engine = self._open(label, graph_for(name), provider=name)
            except ResourceError as error:
                failures.append(f"{name}: {error.found or error.what}")
                continue
            self.provider = name
            why = f"; {'; '.join(failures)}" if failures else ""
            self.note = f"provider: {name} (auto, of {', '.join(self._built)}{why})"
            _log.info(self.note)
            return engine
        raise ResourceError(
            "no provider of ONNX Runtime works here",
            found="; ".join(failures) or "none installed",
            hint='pip install ".[cpu]" in the project\'s folder',
        )
