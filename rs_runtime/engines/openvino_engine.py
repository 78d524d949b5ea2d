"""OpenVINO as an engine: graphs from bytes, the precision always said, runs that Ctrl-C can stop.

Observed of OpenVINO 2026.4 and answered here: without a precision hint it computes in whatever is
fast on the machine (bf16 or fp16); with a hint that the CPU cannot follow it computes in another
precision and says nothing; arrays of another type are converted silently; one infer request serves
one run at a time.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError, RefineStyleError, ResourceError

# Short name -> OpenVINO's name of the precision that it computes in.
PROVIDERS = {"openvino": "f32", "openvino-bf16": "bf16"}
_DEVICE = "CPU"
_TURN_MS = 100
_HINT = "INFERENCE_PRECISION_HINT"
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+){2,}|\bsrc[/\\]\S+")
_MEMORY = ("bad_alloc", "failed to allocate", "out of memory", "not enough memory")


def _library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ResourceError(
            "OpenVINO is not installed", hint='pip install ".[openvino]" in the project\'s folder'
        ) from error
    return openvino


@functools.cache
def _core() -> Any:
    return _library().Core()


def available_providers() -> list[str]:
    """Short names of the precisions that OpenVINO can compute in on this machine's CPU.

    Raises:
        ResourceError: OpenVINO is missing, or it does not know this CPU.
    """
    core = _core()
    if _DEVICE not in core.available_devices:
        raise ResourceError("OpenVINO has no CPU device here")
    has_bf16 = "BF16" in core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return [name for name, precision in PROVIDERS.items() if precision == "f32" or has_bf16]


def require_built(provider: str) -> None:
    """Raises ResourceError unless OpenVINO is installed and the CPU has the precision."""
    built = available_providers()
    if provider not in built:
        raise ResourceError(
            f"provider {provider!r} needs a CPU with bf16 instructions (AVX-512 BF16 or AMX)",
            found=", ".join(built),
            hint="use --provider openvino",
        )


class OpenVinoEngine:
    """A graph compiled by OpenVINO for the CPU.

    Attributes:
        provider: Short name of the provider in use, equal to the one asked for.
        label: The graph's name in messages.
    """

    def __init__(
        self,
        label: str,
        graph: bytes,
        provider: str,
        threads: int | None = None,
        shapes: Mapping[str, Sequence[int | str]] | None = None,
    ) -> None:
        """Compiles the graph.

        Args:
            label: What to call the graph in messages.
            graph: An ONNX model with its weights inside.
            provider: A key of ``PROVIDERS``; its precision is insisted on.
            threads: CPU threads of one run; None leaves OpenVINO's default.
            shapes: Shapes of inputs by name, to compile the graph for (strings stay open); a fixed
                batch starts and runs faster than an open one.

        Raises:
            ResourceError: OpenVINO is missing, or the precision is not to be had here.
            IncompatibleError: OpenVINO refuses the graph.
        """
        require_built(provider)
        precision = PROVIDERS[provider]
        config = {_HINT: precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            model = _core().read_model(graph, b"")
            if shapes is not None:
                model.reshape({name: _open_shape(shape) for name, shape in shapes.items()})
            compiled = _core().compile_model(model, _DEVICE, config)
        except Exception as error:
            raise _failed(f"cannot open the graph {label!r}", error) from error
        used = compiled.get_property(_HINT).get_type_name()
        if used != precision:
            raise ResourceError(
                f"OpenVINO computes the graph {label!r} in another precision",
                found=used,
                expected=precision,
            )
        self.label = label
        self.provider = provider
        self._compiled = compiled
        self._inputs = {port.any_name: port for port in compiled.inputs}
        self._outputs = [port.any_name for port in compiled.outputs]
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run(
        self, inputs: Mapping[str, NDArray[Any]], keep: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Runs the graph once; see ``Engine.run``. Threads run side by side."""
        feeds = self._checked(inputs)
        request = self._request()
        try:
            _run_interruptibly(request, feeds)
            outputs = {name: request.get_tensor(name).data.copy() for name in self._outputs}
        except Exception as error:
            raise _failed(f"cannot run the graph {self.label!r}", error) from error
        self._idle.put(request)
        return outputs

    def _request(self) -> Any:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._compiled.create_infer_request()

    def _checked(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if set(inputs) != set(self._inputs):
            raise IncompatibleError(
                f"the graph {self.label!r} has other inputs than its manifest says",
                found=", ".join(sorted(self._inputs)),
                expected=", ".join(sorted(inputs)),
            )
        for name, value in inputs.items():
            port = self._inputs[name]
            dtype, shape = port.element_type.to_dtype(), port.partial_shape
            if value.dtype != dtype or not shape.compatible(type(shape)(list(value.shape))):
                raise IncompatibleError(
                    f"OpenVINO cannot run the graph {self.label!r}: input {name}",
                    found=f"{value.dtype} {list(value.shape)}",
                    expected=f"{np.dtype(dtype)} {shape}",
                )
        return {name: np.asarray(value, order="C") for name, value in inputs.items()}


def _run_interruptibly(request: Any, feeds: Mapping[str, NDArray[Any]]) -> None:
    """Runs a request; a signal cancels it between two nodes of the graph."""
    request.start_async(feeds, share_inputs=True)
    try:
        # Python sees a signal only when the wait comes back, so it is a wait of short turns.
        while not request.wait_for(_TURN_MS):
            pass
    except BaseException:
        request.cancel()
        with contextlib.suppress(RuntimeError):
            request.wait()
        raise


def _open_shape(shape: Sequence[int | str]) -> list[int]:
    """Sides as OpenVINO takes them: -1 for one that is known only at run time."""
    return [-1 if isinstance(side, str) else side for side in shape]


def _failed(what: str, error: Exception) -> RefineStyleError:
    text = _PATH.sub("…", " ".join(str(error).split()) or type(error).__name__)[-300:]
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _MEMORY):
        return ResourceError(
            f"not enough memory: OpenVINO {what}",
            found=text,
            hint="use a smaller batch or fewer domains at once",
        )
    return IncompatibleError(
        f"OpenVINO {_library().__version__.split('-')[0]} {what}",
        found=text,
        hint="use --provider cpu, export the bundle again with rs-export, or update openvino",
    )
