"""A GPU that is none: CUDA's runtime on host memory, and a TensorRT of one engine, y = 2 x.

For the logic around them only: names, memory, contexts, errors. It is no evidence for TensorRT or
CUDA; tests of genuine names are elsewhere.
"""

import ctypes
import enum
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np


class CudaError(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700


@dataclass
class Cuda:
    """The functions of `cuda.bindings.runtime` that are used, on host memory.

    Attributes:
        memory: Blocks by address.
        allocations: Sizes in bytes, in order.
        fail: Status that a function is to give, by name.
        streams: Streams that exist.
    """

    memory: dict[int, ctypes.Array] = field(default_factory=dict)
    allocations: list[int] = field(default_factory=list)
    fail: dict[str, CudaError] = field(default_factory=dict)
    streams: set[int] = field(default_factory=set)
    cudaError_t = CudaError
    cudaMemcpyKind = enum.Enum(
        "cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2}
    )

    def _status(self, name: str) -> CudaError:
        return self.fail.get(name, CudaError.cudaSuccess)

    def cudaGetDevice(self):
        return self._status("cudaGetDevice"), 0

    def cudaSetDevice(self, device):
        return (self._status("cudaSetDevice"),)

    def cudaGetDeviceProperties(self, device):
        made = SimpleNamespace(name=b"Imaginary 9000\0\0\0", major=9, minor=0)
        return self._status("cudaGetDeviceProperties"), made

    def cudaDriverGetVersion(self):
        return self._status("cudaDriverGetVersion"), 13020

    def cudaMalloc(self, size):
        if self._status("cudaMalloc"):
            return self._status("cudaMalloc"), None
        block = (ctypes.c_byte * size)()
        self.memory[ctypes.addressof(block)] = block
        self.allocations.append(size)
        return CudaError.cudaSuccess, ctypes.addressof(block)

    def cudaFree(self, address):
        del self.memory[address]
        return (CudaError.cudaSuccess,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        ctypes.memmove(target, source, size)
        return (self._status("cudaMemcpyAsync"),)

    def cudaStreamCreate(self):
        self.streams.add(len(self.streams) + 1)
        return CudaError.cudaSuccess, len(self.streams)

    def cudaStreamSynchronize(self, stream):
        return (self._status("cudaStreamSynchronize"),)

    def cudaStreamDestroy(self, stream):
        self.streams.discard(stream)
        return (CudaError.cudaSuccess,)


class Context:
    """Doubles float32 x [N, 2] into y, by address."""

    def __init__(self, engine):
        self.engine = engine
        self.shapes, self.addresses = {}, {}

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return self.engine.accepts

    def get_tensor_shape(self, name):
        return self.shapes["x"]

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        if not self.engine.accepts:
            return False
        size = int(np.prod(self.shapes["x"]))
        view = {n: (ctypes.c_float * size).from_address(a) for n, a in self.addresses.items()}
        for i in range(size):
            view["y"][i] = 2 * view["x"][i]
        return True


class Engine:
    """Lists its tensors out of order; `accepts` False makes calls fail."""

    def __init__(self, tensors=(("y", "OUTPUT"), ("x", "INPUT"))):
        self.tensors = dict(tensors)
        self.accepts = True
        self.contexts = []

    @property
    def num_io_tensors(self):
        return len(self.tensors)

    def get_tensor_name(self, i):
        return list(self.tensors)[i]

    def get_tensor_mode(self, name):
        return self.tensors[name]

    def get_tensor_dtype(self, name):
        return np.float32

    def create_execution_context(self):
        self.contexts.append(Context(self))
        return self.contexts[-1]


def tensorrt(engine: Engine | None) -> ModuleType:
    """A `tensorrt` whose runtime gives `engine` for any bytes, or complains."""

    class ILogger:
        ERROR, INTERNAL_ERROR = "error", "internal error"

    class Runtime:
        seen: ClassVar[list[bytes]] = []

        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, data):
            self.seen.append(bytes(data))
            if engine is None:
                self.logger.log(ILogger.ERROR, "magicTag does not match")
            return engine

    class Registry:
        loaded: ClassVar[list[str]] = []

        def load_library(self, path):
            self.loaded.append(path)
            return object()

    made = ModuleType("tensorrt")
    made.__version__ = "10.16.1.11"
    made.ILogger, made.Runtime, made.Registry = ILogger, Runtime, Registry
    made.TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    made.nptype = lambda dtype: dtype
    made.get_plugin_registry = Registry
    return made
