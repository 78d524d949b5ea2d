"""The process that reads a checkpoint: limited, sealed, and gone afterwards.

Run by `sandbox` with the file as its standard input. It needs neither the path nor PyTorch. Once
its modules are loaded it allows itself nothing that Python's audit events know of: no import, no
code object, no file, no socket, no process.
"""

import encodings.cp437
import hashlib
import os
import sys
from typing import IO

from rs_runtime.contracts.errors import MalformedFileError, RefineStyleError, ResourceError
from rs_runtime.contracts.files import read_descriptor
from rs_train.importers.answer import write_message
from rs_train.importers.direction_file import read_direction_file
from rs_train.importers.sniff import DIRECTION, Found, recognise
from rs_train.importers.torch_file import read_checkpoint

try:
    import resource
except ImportError:  # not a POSIX system: the time limit of the parent remains
    resource = None

MAX_FILE_BYTES = 8 << 30
SEAL_BROKEN = 97  # exit status; the event's name is on stderr
_PRELOADED = (encodings.cp437,)  # zipfile loads it late

# A file's bytes, the parts that are cut out of them, and room for Python and NumPy themselves.
_BASE_MEMORY = 1 << 30
_MEMORY_PER_BYTE = 3


def main() -> None:
    """Read standard input, answer on standard output.

    Arguments of the program: seconds of computing, and a family, `DIRECTION` or "".
    """
    seconds, family = int(sys.argv[1]), sys.argv[2] or None
    answer = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    _limit(os.fstat(0).st_size, seconds)
    sys.addaudithook(seal)
    try:
        read(0, answer, family)
    except Exception as error:
        _send_error(answer, error)
    answer.flush()
    os._exit(0)


def seal(event: str, _: tuple[object, ...]) -> None:
    """Audit hook: end the process at the first event, for reading data causes none."""
    os.write(2, event.encode(errors="replace")[:200])
    os._exit(SEAL_BROKEN)


def read(descriptor: int, answer: IO[bytes], family: str | None) -> None:
    """Read an open checkpoint and write the models in it as messages.

    Raises:
        RefineStyleError: What is wrong with the file, without its name.
        MemoryError: It takes more than this process may have.
    """
    data = read_descriptor(descriptor, "it", max_bytes=MAX_FILE_BYTES, what="checkpoint")
    if family == DIRECTION:
        container, found = read_direction_file(data)
    else:
        container, root = read_checkpoint(data)
        found = recognise(root, family)
    _require_own_data(found, len(data))
    for name, tensor in found.tensors.items():
        values = tensor.array()
        shape = list(tensor.shape)
        write_message(answer, {"tensor": name, "dtype": tensor.dtype, "shape": shape})
        answer.write(values.data)
    end = {
        "container": container,
        "family": found.family,
        "facts": found.facts,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_message(answer, {"end": end})


def _require_own_data(found: Found, file_size: int) -> None:
    total = sum(tensor.nbytes for tensor in found.tensors.values())
    if total > 2 * file_size:  # twice: weights may be tied
        raise ResourceError(
            "its tensors repeat the same data without end",
            found=f"{total:,} bytes",
            expected=f"at most twice the file's {file_size:,}",
        )


def _limit(file_size: int, seconds: int) -> None:
    if resource is None:
        return
    memory = _BASE_MEMORY + _MEMORY_PER_BYTE * min(file_size, MAX_FILE_BYTES)
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),  # no file can grow; a pipe is none
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The hard limit stays: reaching that of computing would look like any other kill.
        resource.setrlimit(kind, (value, hard if kind == resource.RLIMIT_CPU else value))


def _send_error(answer: IO[bytes], error: Exception) -> None:
    if isinstance(error, MemoryError):
        error = ResourceError(
            "it asks for more memory than reading a checkpoint of its size takes",
            hint="it is damaged, or made to exhaust the machine",
        )
    elif not isinstance(error, RefineStyleError):
        found = f"{type(error).__name__}: {error}"[:200]
        error = MalformedFileError("it is damaged", found=found)
    parts = {key: getattr(error, key) for key in ("what", "found", "expected", "hint")}
    write_message(answer, {"error": type(error).__name__, **parts})


if __name__ == "__main__":
    main()
