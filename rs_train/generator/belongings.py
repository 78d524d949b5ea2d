"""Files of tensors that belong to one generator and are made anew where they do not fit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.files import read_file, write_atomic
from rs_train.generator.generator import Generator

_KEY = "refinestyle"
_MAX_BYTES = 4 << 30


def write_belongings(
    path: Path, file_format: str, generator: Generator, tensors: Mapping[str, Tensor], **facts: Any
) -> None:
    """Write tensors as safetensors that name their generator.

    Args:
        path: The file.
        file_format: Its format's name.
        generator: What the tensors were made with.
        tensors: By name.
        facts: JSON values beside them.
    """
    header = {"format": file_format, "version": 1, "fingerprint": generator.fingerprint(), **facts}
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(path, safetensors.torch.save(plain, {_KEY: json.dumps(header)}))


def read_belongings(
    path: Path, generator: Generator, names: Sequence[str], *, what: str, remedy: str
) -> tuple[list[Tensor], dict[str, Any]]:
    """Read what `write_belongings` wrote for this generator.

    Args:
        path: The file.
        generator: The generator.
        names: The tensors that are wanted.
        what: What they are, for messages.
        remedy: What to do with a file that does not fit.

    Returns:
        The tensors in the order of their names, and the header.

    Raises:
        MalformedFileError: Not such a file.
        IncompatibleError: Made with another generator.
    """
    data = read_file(path, max_bytes=_MAX_BYTES, what=what)
    try:
        found = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_KEY])
        tensors = [found[name] for name in names]
        fingerprint = header["fingerprint"]
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise MalformedFileError(f"{path}: not a file of {what}", hint=remedy) from error
    if fingerprint != generator.fingerprint():
        raise IncompatibleError(
            f"{path}: {what} of another generator",
            found=fingerprint[:12],
            expected=generator.fingerprint()[:12],
            hint=remedy,
        )
    return tensors, header
