"""Reads the weights of public networks, files of torch.save, as tensors alone."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import MalformedFileError, UnsafeFileError, UsageError


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, also one under the key `state_dict`; fp32, on the CPU.

    PyTorch's restricted reader is used: it builds tensors and plain containers and nothing else.

    Raises:
        UsageError: No such file.
        UnsafeFileError: It carries code, or objects that are no tensors.
        MalformedFileError: Not such a file, or no tensors in it.
    """
    try:
        root = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        # PyTorch's own message advises to execute the file.
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise UnsafeFileError(
                f"{path}: it names code", found=named[1], expected="names and tensors alone"
            ) from error
        raise MalformedFileError(f"{path}: not a file of torch.save") from error
    except (RuntimeError, ValueError, EOFError, KeyError) as error:
        raise MalformedFileError(f"{path}: a damaged file of torch.save") from error
    if isinstance(root, Mapping) and isinstance(root.get("state_dict"), Mapping):
        root = root["state_dict"]
    if not isinstance(root, Mapping) or not root:
        raise MalformedFileError(f"{path}: holds no state dict", found=type(root).__name__)
    return {name: value.float() for name, value in root.items() if isinstance(value, Tensor)}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load exactly these tensors into a module, and freeze it.

    Raises:
        MalformedFileError: Tensors are missing, unknown, or of another shape.
    """
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise MalformedFileError(
            f"{path}: its tensors are not those of {what}",
            found=" ".join(str(error).split())[:300],
        ) from error
    module.eval().requires_grad_(False)
