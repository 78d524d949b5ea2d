"""Files of edit directions of other projects, as tensors: arrays, archives, pickles."""

import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO

from rs_runtime.contracts.errors import MalformedFileError
from rs_train.importers.inert import ALLOWED, StoredTensor
from rs_train.importers.numpy_file import ARRAY_NAMES, MAGIC, StoredArray, read_npy, read_npz
from rs_train.importers.sniff import DIRECTION, Found
from rs_train.importers.torch_file import read_checkpoint

_MAX_DEPTH = 4
_MAX_TENSORS = 1000


def read_direction_file(data: bytes) -> tuple[str, Found]:
    """Read any of the containers that directions come in.

    Args:
        data: The whole file.

    Returns:
        The container's name, and the file's arrays. One alone is called "array"; those of dicts
        and lists by their keys and places, joined by "/".

    Raises:
        UnsafeFileError: It carries code or Python objects.
        MalformedFileError: Damaged, or without arrays.
    """
    if data.startswith(MAGIC):
        return "NumPy array", Found(DIRECTION, {"array": read_npy(data)}, {})
    if _is_npz(data):
        return "NumPy archive", Found(DIRECTION, read_npz(data), {})
    container, root = read_checkpoint(data, ALLOWED | ARRAY_NAMES)
    tensors: dict[str, StoredTensor] = {}
    for path, tensor in _arrays(root, (), 0):
        tensors["/".join(path) or "array"] = tensor
        if len(tensors) > _MAX_TENSORS:
            raise MalformedFileError("more arrays than a file of directions has")
    if not tensors:
        raise MalformedFileError("there is no array in it", expected="a file of directions")
    return container, Found(DIRECTION, tensors, {})


def _is_npz(data: bytes) -> bool:
    try:
        return any(name.endswith(".npy") for name in zipfile.ZipFile(BytesIO(data)).namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _arrays(
    value: object, path: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], StoredTensor]]:
    """The arrays in nested dicts and lists; what is neither is passed over."""
    if isinstance(value, StoredArray):
        value = value.tensor
    if isinstance(value, StoredTensor):
        yield path, value
    elif isinstance(value, Mapping | list | tuple):
        if depth == _MAX_DEPTH:
            raise MalformedFileError("arrays nested deeper than in a file of directions")
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            yield from _arrays(item, (*path, str(key)[:80]), depth + 1)
