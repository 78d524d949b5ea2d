"""Device memory and streams by NVIDIA's own bindings of the CUDA runtime (`cuda-bindings`)."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from numpy.typing import NDArray

from rs_runtime.contracts.errors import RefineStyleError, ResourceError

_CHECK = "check the driver (nvidia-smi), or use --provider auto"


def runtime() -> Any:
    """NVIDIA's bindings of the CUDA runtime.

    Raises:
        ResourceError: They are not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise ResourceError(
            "NVIDIA's bindings of CUDA are not installed",
            hint='pip install ".[cpu,tensorrt]" in the project\'s folder',
        ) from error
    return runtime


def call(function: str, *arguments: Any) -> Any:
    """Calls a function of the CUDA runtime by name; returns what it gives beside its status.

    Raises:
        ResourceError: No device, no driver, no memory, or the device failed.
    """
    cuda = runtime()
    try:
        status, *values = getattr(cuda, function)(*arguments)
    except RuntimeError as error:  # what the bindings for CUDA 12 make of a missing driver
        raise _missing(str(error)) from error
    if status != cuda.cudaError_t.cudaSuccess:
        raise _failed(cuda, function, status)
    return values[0] if values else None


class Stream:
    """A stream of work on one device; destroyed with the object.

    Attributes:
        handle: What TensorRT takes, an address.
    """

    def __init__(self) -> None:
        """Creates a stream on the current device."""
        self._stream = call("cudaStreamCreate")
        self.handle = int(self._stream)
        weakref.finalize(self, _quietly, "cudaStreamDestroy", self._stream)

    def upload(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Copies a C-contiguous array to the device; it has to live until `wait` is back."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        source = array.ctypes.data
        call("cudaMemcpyAsync", buffer.address, source, array.nbytes, kind, self._stream)

    def download(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Copies from the device into a C-contiguous array, which is filled once `wait` is back."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        target = array.ctypes.data
        call("cudaMemcpyAsync", target, buffer.address, array.nbytes, kind, self._stream)

    def wait(self) -> None:
        """Waits until all is done.

        Raises:
            ResourceError: Something of it failed on the device.
        """
        call("cudaStreamSynchronize", self._stream)


class Buffer:
    """Memory of the current device; freed with the object.

    Attributes:
        address: Where it is.
        size: Bytes, at least one.
    """

    def __init__(self, size: int) -> None:
        """Allocates; see `call` for errors."""
        self.size = max(size, 1)
        self.address = int(call("cudaMalloc", self.size))
        weakref.finalize(self, _quietly, "cudaFree", self.address)


def device_name() -> tuple[str, str]:
    """Name and compute capability ("9.0") of the current device.

    Raises:
        ResourceError: No device or driver.
    """
    properties = call("cudaGetDeviceProperties", call("cudaGetDevice"))
    name = bytes(properties.name).split(b"\0")[0].decode("utf-8", "replace")
    return name, f"{properties.major}.{properties.minor}"


def driver_version() -> str:
    """Newest CUDA version that the driver serves, as "13.0"."""
    version = call("cudaDriverGetVersion")
    return f"{version // 1000}.{version % 1000 // 10}"


def _quietly(function: str, argument: Any) -> None:
    # At exit the driver may be gone before us.
    with contextlib.suppress(RefineStyleError):
        call(function, argument)


def _failed(cuda: Any, function: str, status: Any) -> ResourceError:
    if status == cuda.cudaError_t.cudaErrorMemoryAllocation:
        return ResourceError(
            "not enough memory on the GPU",
            hint="use a smaller batch or fewer domains at once, or stop what else runs there",
        )
    if status in (cuda.cudaError_t.cudaErrorInsufficientDriver, cuda.cudaError_t.cudaErrorNoDevice):
        return _missing(status.name)
    return ResourceError(f"CUDA: {function} failed", found=status.name, hint=_CHECK)


def _missing(reason: str) -> ResourceError:
    what = "there is no NVIDIA GPU, or its driver is missing or too old"
    return ResourceError(f"CUDA: {what}", found=reason, hint=_CHECK)
