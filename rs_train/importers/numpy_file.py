"""NumPy's arrays as data: `.npy` and `.npz` files, and arrays inside pickles; never objects."""

import io
import re
import zipfile
from collections.abc import Sequence

from rs_runtime.contracts.errors import MalformedFileError, UnsafeFileError
from rs_train.importers.inert import DTYPES, Function, Inert, NumpyType, Storage, StoredTensor

MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '([<|]?[a-zA-Z]\w*)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,9}, ?)*\d{0,9})\), ?\} *\n"
)
_SHORT_NAMES = {dtype.str.lstrip("<|"): name for name, dtype in DTYPES.items() if name != "BF16"}
_MAX_DIMS = 8
_MAX_ENTRIES = 64
_MAX_ARCHIVE_BYTES = 256 << 20


def read_npy(data: bytes) -> StoredTensor:
    """Read an `.npy` file.

    Raises:
        UnsafeFileError: It holds objects.
        MalformedFileError: Damaged, or of another kind of number.
    """
    width = {1: 2, 2: 4, 3: 4}.get(data[6] if len(data) > 6 else 0)
    if not data.startswith(MAGIC) or width is None:
        raise MalformedFileError("not a NumPy array")
    start = 8 + width
    end = start + int.from_bytes(data[8:start], "little")
    match = _HEADER.fullmatch(data, start, min(end, len(data)))
    if match is None:
        raise MalformedFileError("the header of its array is not as NumPy writes it")
    shape = tuple(int(side) for side in match[3].split(b",") if side.strip())
    code = match[1].decode("ascii").lstrip("<|")
    return stored_array(data[end:], code, shape, is_fortran=match[2] == b"True")


def read_npz(data: bytes) -> dict[str, StoredTensor]:
    """Read the arrays of an `.npz` file, compressed or not.

    Raises:
        UnsafeFileError: It holds objects, or would expand without end.
        MalformedFileError: Damaged, or not an archive of arrays.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = archive.infolist()
        total = sum(info.file_size for info in infos)
        if len(infos) > _MAX_ENTRIES or total > _MAX_ARCHIVE_BYTES:
            raise UnsafeFileError(
                "its archive is too large for directions", found=f"{len(infos)} parts, {total:,} B"
            )
        if not all(info.filename.endswith(".npy") for info in infos):
            raise MalformedFileError("its archive holds other things than arrays")
        return {info.filename.removesuffix(".npy"): read_npy(archive.read(info)) for info in infos}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise MalformedFileError("its archive is damaged or cut off") from error


def stored_array(data: bytes, code: str, shape: Sequence[int], *, is_fortran: bool) -> StoredTensor:
    """An array of NumPy's as a tensor.

    Args:
        data: Its bytes.
        code: Its type without byte order, as "f4".
        shape: Its sides.
        is_fortran: Whether the first side runs fastest.

    Raises:
        UnsafeFileError: An array of Python objects.
        MalformedFileError: Another type that is not known, or another number of bytes.
    """
    if code.startswith("O"):
        raise UnsafeFileError("an array of Python objects", expected="an array of numbers")
    dtype = _SHORT_NAMES.get(code)
    if dtype is None:
        raise MalformedFileError(
            "an array of another type", found=code[:20], expected=", ".join(sorted(_SHORT_NAMES))
        )
    if len(shape) > _MAX_DIMS:
        raise MalformedFileError("an array of too many dimensions", found=str(len(shape)))
    strides, count = [0] * len(shape), 1
    order = range(len(shape)) if is_fortran else reversed(range(len(shape)))
    for axis in order:
        strides[axis] = count
        count *= shape[axis]
    if count * DTYPES[dtype].itemsize != len(data):
        raise MalformedFileError(
            "an array's data has another size than the file says",
            found=f"{len(data):,} bytes",
            expected=f"{count * DTYPES[dtype].itemsize:,}",
        )
    return StoredTensor(Storage(dtype, count, lambda: data), 0, tuple(shape), tuple(strides))


class StoredArray(Inert):
    """An array inside a pickle; its state is its content.

    Attributes:
        tensor: The array, None before its state has come.
    """

    __slots__ = ("tensor",)

    def __init__(self, *_: object) -> None:
        self.tensor: StoredTensor | None = None

    def __setstate__(self, state: object) -> None:
        """Take (version, shape, type, is_fortran, data)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise MalformedFileError("an array that is not described as NumPy describes it")
        self.tensor = _described(state[4], state[2], state[1], bool(state[3]))


def _from_buffer(data: object, kind: object, shape: object, order: object) -> StoredArray:
    array = StoredArray()
    array.tensor = _described(data, kind, shape, order == "F")
    return array


def _described(data: object, kind: object, shape: object, is_fortran: bool) -> StoredTensor:
    sound = (
        isinstance(data, bytes | bytearray)
        and isinstance(kind, NumpyType)
        and isinstance(kind.code, str)
        and isinstance(shape, tuple)
        and all(type(side) is int and 0 <= side < 1 << 32 for side in shape)
    )
    if not sound:
        raise MalformedFileError("an array that is not described as NumPy describes it")
    return stored_array(bytes(data), kind.code, shape, is_fortran=is_fortran)


# (module, name) of what pickles of arrays name, beside those of checkpoints.
ARRAY_NAMES: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): "numpy.ndarray",
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): Function(StoredArray)
        for core in ("core", "_core")
    },
    **{
        (f"numpy.{core}.numeric", "_frombuffer"): Function(_from_buffer)
        for core in ("core", "_core")
    },
}
