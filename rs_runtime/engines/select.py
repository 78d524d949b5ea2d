"""Which engine and provider run a bundle."""

from __future__ import annotations

import functools
import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.contracts.roles import Variant
from rs_runtime.engines.base import Engine, EngineOptions

_T = TypeVar("_T")
_log = logging.getLogger("rs_runtime")

# Engine, as manifests call it -> module; each imports its package when it is first asked.
_MODULES = {
    "onnxruntime": "rs_runtime.engines.onnxruntime_engine",
    "openvino": "rs_runtime.engines.openvino_engine",
    "native": "rs_runtime.engines.native_engine",
    "tensorrt": "rs_runtime.engines.tensorrt_engine",
}
# Fastest first. What computes in bf16, or runs files that were built apart, goes by name only.
_AUTO_ORDER = ("cuda", "rocm", "directml", "coreml", "native", "openvino", "cpu")
_AUTO_ENGINES = ("onnxruntime", "openvino", "native")
# For graphs of any kind, fastest first: what the native engine leaves to others.
_GENERAL = ("openvino", "onnxruntime")
_INSTALL = 'pip install ".[cpu]" or ".[openvino]" in the project\'s folder'


class Chosen(NamedTuple):
    """One variant of a role, ready to be opened."""

    variant: Variant
    graph: bytes
    shapes: Mapping[str, Sequence[int | str]]  # of its inputs
    bundle: Path | None = None  # the graph's, beside which built engines lie


def providers() -> dict[str, str]:
    """Every provider that may be named, with the engine that it belongs to."""
    return {name: engine for engine in _MODULES for name in _module(engine).PROVIDERS}


def installed(engines: Iterable[str] = tuple(_MODULES)) -> tuple[list[str], dict[str, str]]:
    """Providers whose engine is installed, and for each other engine why it is not usable."""
    found, missing = [], {}
    for engine in engines:
        try:
            found += _module(engine).available_providers()
        except ResourceError as error:
            missing[engine] = error.what
    return found, missing


@functools.cache
def companions() -> tuple[str, ...]:
    """Engines that run on CPUs what the native one does not, the fastest first.

    Raises:
        ResourceError: None of them is installed.
    """
    found, missing = installed(_GENERAL)
    engines = {providers()[name] for name in found}
    if not engines:
        raise ResourceError(
            "the native engine draws pictures alone, and no engine is installed for the rest",
            found="; ".join(missing.values()),
            hint=_INSTALL,
        )
    return tuple(engine for engine in _GENERAL if engine in engines)


def tensorrt_machine() -> str:
    """What TensorRT would run on, in a line.

    Raises:
        ResourceError: TensorRT or a GPU is missing.
    """
    own = _module("tensorrt").this_machine()
    gpu = f"{own.gpu} ({own.compute_capability})"
    return f"TensorRT {own.tensorrt} on {gpu}, driver for CUDA {own.cuda_driver}"


def native_machine() -> str:
    """What the native engine would run on, in a line.

    Raises:
        ResourceError: It is not there.
    """
    return f"{_module('native').instructions()} instructions"


def open_engine(provider: str, label: str, chosen: Chosen, threads: int | None = None) -> Engine:
    """Opens a variant's graph with a provider of its engine.

    Raises:
        ResourceError: The provider is absent or does not start.
        IncompatibleError: The engine refuses the graph.
    """
    module = _module(chosen.variant.engine)
    if chosen.variant.engine == "tensorrt":
        return module.TensorRtEngine(label, chosen.graph, chosen.bundle)
    if chosen.variant.engine == "native" and "image" in chosen.shapes:
        part = _open_part(chosen, threads)
        return module.NativeEncoder(label, chosen.graph, chosen.shapes, part, threads)
    if chosen.variant.engine == "native":
        return module.NativeEngine(label, chosen.graph, threads)
    if chosen.variant.engine == "openvino":
        # A role that bf16 would spoil has no such variant, and is computed in fp32.
        own = "openvino-bf16" if chosen.variant.precision == "bf16" else "openvino"
        return module.OpenVinoEngine(label, chosen.graph, own, threads, chosen.shapes)
    # What TensorRT or the native engine leaves to others runs on the CPU.
    is_left = provider not in module.PROVIDERS
    own = "cpu" if is_left else provider
    return module.OnnxRuntimeEngine(label, chosen.graph, own, threads, beside_another=is_left)


class EngineSelection:
    """Opens graphs with the provider asked for, or with one that ``auto`` found and keeps.

    Attributes:
        provider: The provider in use; None while ``auto`` has not yet opened a graph.
        note: One line on what was chosen and why; empty until then, or if the user named it.
        seconds: Spent in engines so far: loading them, opening graphs, running them.
    """

    def __init__(self, options: EngineOptions, serves: Callable[[str], bool]) -> None:
        """Checks the request; opens nothing yet.

        Args:
            options: What the user asked for.
            serves: Whether the bundle has graphs for a provider; ``auto`` passes over the others.

        Raises:
            UsageError: No such provider.
            ResourceError: The named provider is not installed.
        """
        known = providers()
        if options.provider != "auto" and options.provider not in known:
            near = get_close_matches(options.provider, known)
            raise UsageError(
                f"unknown provider {options.provider!r}",
                expected=", ".join(["auto", *known]),
                hint=f"did you mean {near[0]}?" if near else "",
            )
        if options.threads is not None and options.threads < 1:
            raise UsageError("threads must be at least 1", found=str(options.threads))
        self.note, self.seconds = "", 0.0
        self._counting = threading.Lock()
        self.provider = None if options.provider == "auto" else options.provider
        self._threads = options.threads
        if self.provider is not None:
            module = _module(known[self.provider])
            self.timed(lambda: module.require_built(self.provider))
            if self.provider == "native":
                self.timed(companions)  # it would be loaded later, and out of the count
            return
        self._built, self._missing = self.timed(lambda: installed(_AUTO_ENGINES))
        if all(known[name] not in _GENERAL for name in self._built):
            raise ResourceError(
                "no engine is installed", found="; ".join(self._missing.values()), hint=_INSTALL
            )
        able = [name for name in _AUTO_ORDER if name in self._built and serves(name)]
        self._order = [name for name in able if name != "native" or _gains_by_native()]

    def open(self, label: str, choose: Callable[[str], Chosen]) -> tuple[Engine, Variant]:
        """Opens a graph from its bytes.

        Args:
            label: What to call the graph in messages.
            choose: Gives the variant that suits a provider.

        Raises:
            ResourceError: The provider does not start.
            IncompatibleError: The bundle has no graph for the provider, or the engine refuses it.
        """
        if self.provider is not None:
            chosen = choose(self.provider)
            return self._open(self.provider, label, chosen), chosen.variant
        failures = []
        for name in self._order:
            chosen = choose(name)
            try:
                engine = self._open(name, label, chosen)
            except ResourceError as error:
                failures.append(f"{name}: {error.found or error.what}")
                continue
            self.provider = name
            why = f"; {'; '.join(failures)}" if failures else ""
            self.note = f"provider: {name} (auto, of {', '.join(self._built)}{why})"
            _log.info(self.note)
            return engine, chosen.variant
        reasons = [*failures, *self._missing.values()]
        raise ResourceError(
            "no engine that the bundle has graphs for works here",
            found="; ".join(reasons) or ", ".join(self._built),
            hint=_INSTALL,
        )

    def timed(self, work: Callable[[], _T]) -> _T:
        """Does what an engine does, and counts the seconds."""
        begun = time.perf_counter()
        try:
            return work()
        finally:
            with self._counting:
                self.seconds += time.perf_counter() - begun

    def _open(self, provider: str, label: str, chosen: Chosen) -> Engine:
        return self.timed(lambda: open_engine(provider, label, chosen, self._threads))


def _open_part(chosen: Chosen, threads: int | None) -> Callable[[str, bytes, Any], Engine]:
    """Opens what the native engine leaves of a graph with the fastest engine for any graph."""
    engine, *_ = companions()
    variant = replace(chosen.variant, engine=engine)

    def open_part(label: str, graph: bytes, shapes: Mapping[str, Sequence[int | str]]) -> Engine:
        return open_engine("native", label, Chosen(variant, graph, shapes), threads)

    return open_part


def _gains_by_native() -> bool:
    """Whether the native engine has been compiled for instructions as fast as the others'."""
    module = _module("native")
    return module.instructions() != module.SLOW_INSTRUCTIONS


def _module(engine: str) -> Any:
    return importlib.import_module(_MODULES[engine])
