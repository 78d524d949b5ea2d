"""What the pickle of a checkpoint may name: an exact list, each name with a stand-in.

A stand-in stores what it is called with, or computes a plain value; none of them is the object
that the name means in Python. Nothing a pickle can do to a stand-in runs code of the file or sets
an attribute: every class here has a `__setstate__` of its own, which is what BUILD looks for first.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from rs_runtime.contracts.errors import MalformedFileError

# Type of a tensor by its short name: how numpy holds it (bfloat16 as its 16 bits).
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
_MAX_DIMS = 8


class Inert:
    """Base of the stand-ins: the file cannot give them a state."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Refuse BUILD."""
        raise MalformedFileError("its pickle changes an object that has no state")


class Function(Inert):
    """A name that the pickle calls."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        """Compute the value; only positional arguments occur in pickles."""
        return self._function(*args)


class PlainDict(dict):
    """An OrderedDict or another dict; the attributes that PyTorch adds to it are dropped."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Drop attributes such as a state dict's _metadata."""


class Attributes(PlainDict):
    """An object whose attributes are all that matters: a namespace, a container of modules."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Keep the attributes as entries."""
        self.update(state)


class StorageType(Inert):
    """`torch.FloatStorage` and its like."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Storage(Inert):
    """A storage of a file, read when it is needed.

    Attributes:
        dtype: Short name of the element type.
        numel: Elements it says that it has.
    """

    __slots__ = ("_read", "dtype", "numel")

    def __init__(self, dtype: str, numel: int, read: Callable[[], bytes | memoryview]) -> None:
        self.dtype = dtype
        self.numel = numel
        self._read = read

    def array(self) -> np.ndarray:
        """The elements [numel].

        Raises:
            MalformedFileError: The file holds another number of bytes for it.
        """
        data = self._read()
        expected = self.numel * DTYPES[self.dtype].itemsize
        if len(data) != expected:
            raise MalformedFileError(
                "a tensor's data has another size than the file says",
                found=f"{len(data):,} bytes",
                expected=f"{expected:,}",
            )
        return np.frombuffer(data, DTYPES[self.dtype])


class StoredTensor(Inert):
    """A tensor as a view of a storage, checked to lie inside it."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    @property
    def dtype(self) -> str:
        """Short name of the element type."""
        return self.storage.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the values, without gaps."""
        return _product(self.shape) * DTYPES[self.dtype].itemsize

    def array(self) -> np.ndarray:
        """The values, contiguous, of this shape."""
        flat = self.storage.array()[self.offset :]
        strides = [step * flat.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(self.shape)


class PersistentObject(Inert):
    """An object of NVIDIA's persistent classes: its attributes, and its class's source as text."""

    __slots__ = ("class_name", "source", "state")

    def __init__(self, class_name: str, source: str, state: dict[str, Any]) -> None:
        self.class_name = class_name
        self.source = source
        self.state = state


class NumpyType(Inert):
    """`numpy.dtype('f8', ...)`; its state says the byte order, which is little for all we read."""

    __slots__ = ("code",)

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", "|"):
            raise MalformedFileError("a NumPy number in another byte order than little-endian")


def _rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> StoredTensor:
    sound = (
        isinstance(storage, Storage)
        and _is_count(offset)
        and all(isinstance(v, tuple) and all(map(_is_count, v)) for v in (size, stride))
        and len(size) == len(stride) <= _MAX_DIMS
    )
    if not sound:
        raise MalformedFileError("a tensor is not described as PyTorch describes a strided one")
    count = _product(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # Fewer elements in the storage than in the tensor: a few bytes that would expand without end.
    # NumPy refuses even an empty array whose other sides are huge.
    outside = count and (last >= storage.numel or count > storage.numel)
    if outside or _product(tuple(n or 1 for n in size)) > max(storage.numel, 1 << 30):
        raise MalformedFileError(
            "a tensor reaches outside its storage",
            found=f"shape {list(size)}, strides {list(stride)}, offset {offset}",
            expected=f"{storage.numel} elements",
        )
    return StoredTensor(storage, offset, size, stride)


def _rebuild_parameter(data: object, *_: object) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise MalformedFileError("a parameter that is not a tensor")
    return data


def _persistent(meta: object) -> PersistentObject:
    if isinstance(meta, dict) and meta.get("type") == "class":
        name, source = meta.get("class_name"), meta.get("module_src", "")
        state = meta.get("state")
        if isinstance(name, str) and isinstance(source, str) and isinstance(state, dict):
            return PersistentObject(name, source, state)
    raise MalformedFileError("an object that is not described as NVIDIA's files do it")


def _scalar(kind: object, data: object) -> float | int | bool:
    formats = {"f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "b1": "?"}
    if not isinstance(kind, NumpyType) or kind.code not in formats or not isinstance(data, bytes):
        raise MalformedFileError("a NumPy value that is not a number")
    return struct.unpack(formats[kind.code], data)[0]


def _encode(text: object, encoding: object) -> bytes:
    # How protocol 2 writes bytes.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise MalformedFileError("bytes that are not written as pickles write them")
    return text.encode("latin-1")


def _device(*parts: object) -> str:
    return ":".join(map(str, parts))[:40]


def _size(values: object = ()) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(map(_is_count, values)):
        raise MalformedFileError("a torch.Size that is not a shape")
    return tuple(values)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _product(values: tuple[int, ...]) -> int:
    count = 1
    for value in values:
        count *= value
    return count


# (module, name) as the pickle spells it. Kept exact: no prefixes, no dotted names.
ALLOWED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): PlainDict,
    ("dnnlib.util", "EasyDict"): PlainDict,
    ("argparse", "Namespace"): Attributes,
    ("torch.nn.modules.container", "ModuleList"): Attributes,
    ("torch.nn.modules.container", "Sequential"): Attributes,
    ("builtins", "set"): Function(set),
    ("__builtin__", "set"): Function(set),
    ("_codecs", "encode"): Function(_encode),
    ("torch", "Size"): Function(_size),
    ("torch", "device"): Function(_device),
    ("torch._utils", "_rebuild_tensor"): Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Function(_rebuild_parameter),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Function(_persistent),
    ("numpy", "dtype"): Function(NumpyType),
    ("numpy.core.multiarray", "scalar"): Function(_scalar),
    ("numpy._core.multiarray", "scalar"): Function(_scalar),
    **{("torch", name): StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{
        ("torch", name): f"torch.{name}"
        for name in ("float64", "float32", "float16", "bfloat16", "int64", "uint8")
    },
}
