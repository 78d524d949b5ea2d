"""Reads a checkpoint of another project in a process of its own, with limits, as data.

What comes back is tensors and plain values; whatever the file does to the process that reads it
ends with that process.
"""

import math
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    RefineStyleError,
    ResourceError,
    UnsafeFileError,
)
from rs_runtime.contracts.files import open_regular
from rs_train.importers.answer import read_message
from rs_train.importers.child import SEAL_BROKEN

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_ERRORS = {
    kind.__name__: kind
    for kind in (IncompatibleError, MalformedFileError, ResourceError, UnsafeFileError)
}
# Seconds of computing; of waiting, on a machine that does other things too, many times as much.
_BASE_SECONDS = 20
_BYTES_PER_SECOND = 20e6
_PATIENCE = 15
_SECONDS_TO_END = 2.0
_OUT_OF_TIME = getattr(signal, "SIGXCPU", None)  # not on Windows
_MAX_TENSORS = 100_000
_MAX_STDERR = 4096


@dataclass(frozen=True)
class Extract:
    """The models in a checkpoint, as tensors.

    Attributes:
        family: The project that wrote it, one of `sniff.FAMILIES`; or `sniff.DIRECTION`.
        container: How it is packed.
        size: Bytes of the file.
        sha256: Of the file.
        facts: Plain values that say something about the tensors.
        tensors: By name, in the types of the file, on the CPU.
    """

    family: str
    container: str
    size: int
    sha256: str
    facts: dict[str, Any]
    tensors: dict[str, Tensor]


def extract(path: Path, family: str | None = None) -> Extract:
    """Read a checkpoint without executing anything in it.

    Args:
        path: The file.
        family: Decides between pSp and e4e where the file does not; `sniff.DIRECTION` reads a file
            of edit directions instead.

    Raises:
        MalformedFileError: Damaged, or no checkpoint of a known project.
        UnsafeFileError: It carries code, or made the process that read it misbehave.
        IncompatibleError: A checkpoint that is known, and not supported.
        ResourceError: Reading it took too much memory or time.
        UsageError: No such file.
    """
    with open_regular(path, what="checkpoint") as descriptor:
        size = os.fstat(descriptor).st_size
        limit = math.ceil(_BASE_SECONDS + size / _BYTES_PER_SECOND)
        process = _start(descriptor, limit, family)
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(_PATIENCE * limit, expire)
    timer.start()
    with process:
        try:
            found = _receive(process.stdout, size)
        finally:
            timer.cancel()
            _end(process)
        said = process.stderr.read(_MAX_STDERR)
    if expired.is_set() or -process.returncode == _OUT_OF_TIME:
        raise ResourceError(f"{path}: reading it took longer than {limit} s of computing")
    if found is None:
        raise _died(path, process.returncode, said)
    if isinstance(found, RefineStyleError):
        found.what = f"{path}: {found.what}"
        raise found
    return found


def _start(descriptor: int, seconds: int, family: str | None) -> subprocess.Popen[bytes]:
    """Start the child: this interpreter, these packages, nothing else of the environment."""
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # each thread takes address space
    }
    if "SYSTEMROOT" in os.environ:  # Windows starts nothing without it
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    return subprocess.Popen(
        [sys.executable, "-s", "-m", "rs_train.importers.child", str(seconds), family or ""],
        stdin=descriptor,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the child end, which it does as soon as nobody listens; or end it."""
    process.stdout.close()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()


def _receive(stream: IO[bytes], size: int) -> Extract | RefineStyleError | None:
    """Read the child's messages; None if they end early, or are not what the child writes."""
    tensors: dict[str, Tensor] = {}
    left = 2 * size
    try:
        while len(tensors) <= _MAX_TENSORS and (message := read_message(stream)) is not None:
            if "error" in message:
                return _ERRORS[message.pop("error")](message.pop("what"), **message)
            if "end" in message:
                return Extract(size=size, tensors=tensors, **message["end"])
            dtype = _DTYPES[message["dtype"]]
            shape = torch.Size(message["shape"])
            nbytes = shape.numel() * dtype.itemsize
            left -= nbytes
            if left < 0:
                return None
            data = np.empty(nbytes, np.uint8)
            if stream.readinto(data) != nbytes:
                return None
            tensors[message["tensor"]] = torch.from_numpy(data).view(dtype).reshape(shape)
    except (KeyError, TypeError, ValueError, RuntimeError):
        return None
    return None


def _died(path: Path, code: int, said: bytes) -> RefineStyleError:
    if code == SEAL_BROKEN:
        return UnsafeFileError(
            f"{path}: reading it would have left the sandbox", found=said.decode(errors="replace")
        )
    if code < 0 and -code not in (signal.SIGKILL, signal.SIGTERM):
        return UnsafeFileError(
            f"{path}: the process that read it died", found=signal.Signals(-code).name
        )
    if b"MemoryError" in said or code < 0:
        return ResourceError(f"{path}: not enough memory to read it")
    return MalformedFileError(
        f"{path}: cannot be read", found=said.decode(errors="replace").strip()[-200:]
    )
