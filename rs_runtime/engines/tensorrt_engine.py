"""TensorRT as an engine: runs what `rs-export --engine` built for this very machine.

Nothing is handed to TensorRT before the engine's sidecar has been compared with the machine and its
bytes with the sidecar: TensorRT runs code of what it deserialises. Tensors are bound by name. Each
run has an execution context, a stream and device memory to itself; they are kept for the next one.

Checked against the names and signatures of NVIDIA's bindings 10.16 and 11.4; not run on a GPU yet.
"""

from __future__ import annotations

import functools
import platform
import queue
import sys
import threading
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.engine_file import (
    EngineFile,
    Machine,
    PluginLibrary,
    find_engine,
    read_engine,
    read_plugin_library,
)
from rs_runtime.contracts.errors import IncompatibleError, RefineStyleError, ResourceError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.engines import cuda_memory
from rs_runtime.engines.cuda_memory import Buffer, Stream

# Short name -> the library's own.
PROVIDERS = {"tensorrt": "TensorRT"}
_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "bad_alloc")


def available_providers() -> list[str]:
    """["tensorrt"], where TensorRT, CUDA's bindings and a GPU are there.

    Raises:
        ResourceError: Says which of them is not.
    """
    this_machine()
    return list(PROVIDERS)


def require_built(provider: str) -> None:
    """Raises ResourceError unless engines can be run here."""
    available_providers()


def library() -> Any:
    """TensorRT's Python package.

    Raises:
        ResourceError: It is not installed, or its libraries do not load.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise ResourceError(
            "TensorRT is not installed",
            found="" if isinstance(error, ModuleNotFoundError) else str(error)[:200],
            hint='pip install ".[cpu,tensorrt]" in the project\'s folder '
            "(on Jetson it comes with JetPack)",
        ) from error
    return tensorrt


def this_machine() -> Machine:
    """What engines that are built or run here are bound to: the current device, TensorRT, CUDA.

    Raises:
        ResourceError: TensorRT, CUDA's bindings or a GPU is missing.
    """
    version = library().__version__
    gpu, capability = cuda_memory.device_name()
    return Machine(
        tensorrt=version,
        gpu=gpu,
        compute_capability=capability,
        cuda_driver=cuda_memory.driver_version(),
        platform=f"{sys.platform}-{platform.machine()}",
    )


class TensorRtEngine:
    """A built engine.

    Attributes:
        provider: "tensorrt".
        label: The role, as messages call it.
    """

    def __init__(self, label: str, graph: bytes, bundle: Path) -> None:
        """Opens the engine that was built from a bundle's graph for this machine.

        Args:
            label: The role whose engine it is.
            graph: The ONNX file that the engine has to be built from; only its hash is used.
            bundle: The bundle's folder; engines lie beside it.

        Raises:
            ResourceError: TensorRT or a GPU is missing, or no engine was built.
            IncompatibleError: Engines for other machines or graphs only, or TensorRT refuses it.
            MalformedFileError: A damaged engine or sidecar.
        """
        machine = this_machine()
        path, sidecar = find_engine(bundle, label, machine, sha256_hex(graph))
        data = read_engine(path, sidecar)
        if sidecar.recipe.plugin is not None:
            _load_plugins(path.parent, sidecar.recipe.plugin)
        self.label = label
        self.provider = "tensorrt"
        self._device = cuda_memory.call("cudaGetDevice")
        self._sidecar = sidecar
        self._engine = _deserialised(label, data)
        self._idle: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        _check_tensors(label, self._engine, sidecar)

    def run(
        self, inputs: Mapping[str, NDArray[Any]], keep: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Runs the engine once; see ``Engine.run``. Threads run side by side.

        A run takes milliseconds and is waited for; Ctrl-C is seen when it is over.
        """
        feeds = self._checked(inputs)
        cuda_memory.call("cudaSetDevice", self._device)
        lane = self._lane()
        outputs = lane.run(feeds)
        # A lane that failed or was interrupted is not used again.
        self._idle.put(lane)
        return outputs

    def _lane(self) -> _Lane:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return _Lane(self.label, self._engine, self._sidecar)

    def _checked(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        expected = {spec.name: spec for spec in self._sidecar.inputs}
        if set(inputs) != set(expected):
            raise IncompatibleError(
                f"the engine {self.label!r} has other inputs than the bundle's manifest says",
                found=", ".join(sorted(expected)),
                expected=", ".join(sorted(inputs)),
            )
        for name, value in inputs.items():
            sides, dtype = self._sidecar.recipe.profile[name], expected[name].dtype
            fits = len(value.shape) == len(sides.min) and all(
                low <= side <= high
                for low, side, high in zip(sides.min, value.shape, sides.max, strict=True)
            )
            if value.dtype != dtype or not fits:
                raise IncompatibleError(
                    f"the engine {self.label!r} was not built for this input: {name}",
                    found=f"{value.dtype} {list(value.shape)}",
                    expected=f"{dtype} {list(sides.min)} to {list(sides.max)}",
                    hint="use a smaller batch or fewer domains at once",
                )
        return {name: np.ascontiguousarray(value) for name, value in inputs.items()}


class _Lane:
    """What one run needs to itself: an execution context, a stream, and memory for each tensor."""

    def __init__(self, label: str, engine: Any, sidecar: EngineFile) -> None:
        self._label = label
        self._sidecar = sidecar
        self._context = engine.create_execution_context()
        if self._context is None:
            raise _failed(f"cannot prepare a run of the engine {label!r}")
        self._stream = Stream()
        self._buffers: dict[str, Buffer] = {}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name, value in feeds.items():
            self._require(self._context.set_input_shape(name, value.shape))
            self._bind(name, value.nbytes)
        outputs = {}
        for spec in self._sidecar.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            outputs[spec.name] = np.empty(shape, spec.dtype)
            self._bind(spec.name, outputs[spec.name].nbytes)
        try:
            for name, value in feeds.items():
                self._stream.upload(value, self._buffers[name])
            self._require(self._context.execute_async_v3(self._stream.handle))
            for name, value in outputs.items():
                self._stream.download(self._buffers[name], value)
        finally:
            # Whatever ends the run, the device is done with the arrays before they go.
            self._stream.wait()
        return outputs

    def _bind(self, name: str, size: int) -> None:
        """Give a tensor memory of at least this size; what it has serves smaller shapes, too."""
        held = self._buffers.get(name)
        if held is not None and held.size >= size:
            return
        self._buffers[name] = Buffer(size)
        self._require(self._context.set_tensor_address(name, self._buffers[name].address))

    def _require(self, done: bool) -> None:
        if not done:
            raise _failed(f"cannot run the engine {self._label!r}")


@functools.cache
def _log() -> Any:
    """The logger of all that TensorRT does here: keeps the last errors for messages."""
    trt = library()

    class Log(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: deque[str] = deque(maxlen=3)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


@functools.cache
def _runtime() -> Any:
    try:
        return library().Runtime(_log())
    except (TypeError, RuntimeError) as error:  # what its bindings make of a missing device
        raise ResourceError(
            "TensorRT is installed but does not start",
            found="; ".join(_log().errors) or str(error),
            hint="check the driver (nvidia-smi), or use --provider auto",
        ) from error


_loading = threading.Lock()
_loaded: set[str] = set()  # by hash: TensorRT refuses to register the same plugins twice


def _load_plugins(folder: Path, plugin: PluginLibrary) -> None:
    """Register the plugins that an engine was built with, once a process."""
    path = read_plugin_library(folder, plugin)
    with _loading:
        if plugin.sha256 in _loaded:
            return
        if library().get_plugin_registry().load_library(str(path)) is None:
            raise _failed(f"cannot load the plugins {plugin.file}")
        _loaded.add(plugin.sha256)


def _deserialised(label: str, data: bytes) -> Any:
    engine = _runtime().deserialize_cuda_engine(data)
    if engine is None:
        raise _failed(f"cannot open the engine {label!r}")
    return engine


def _check_tensors(label: str, engine: Any, sidecar: EngineFile) -> None:
    """Compare names, directions and dtypes with the sidecar, so that binding by name is safe."""
    trt = library()
    modes = {trt.TensorIOMode.INPUT: "input", trt.TensorIOMode.OUTPUT: "output"}
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    found = {
        f"{modes[engine.get_tensor_mode(name)]} {name} "
        f"{np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name}"
        for name in names
    }
    expected = {f"input {spec.name} {spec.dtype}" for spec in sidecar.inputs}
    expected |= {f"output {spec.name} {spec.dtype}" for spec in sidecar.outputs}
    if found != expected:
        raise IncompatibleError(
            f"the engine {label!r} has other tensors than its sidecar says",
            found=", ".join(sorted(found)),
            expected=", ".join(sorted(expected)),
            hint="build it again: rs-export --engine",
        )


def _failed(what: str) -> RefineStyleError:
    """What TensorRT last complained of, as one of our errors."""
    errors = _log().errors
    text = " ".join("; ".join(errors).split())[-300:]
    errors.clear()
    if any(sign in text.lower() for sign in _MEMORY):
        return ResourceError(
            f"not enough memory: TensorRT {what}",
            found=text,
            hint="use a smaller batch or fewer domains at once, or stop what else runs there",
        )
    return IncompatibleError(
        f"TensorRT {library().__version__} {what}",
        found=text,
        hint="build the engines again on this machine: rs-export --engine",
    )
