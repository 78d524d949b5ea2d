"""The containers of PyTorch: the zip archive of torch.save, and the stream before version 1.6.

Only `torch.storage._load_from_bytes`, with which an ordinary pickle carries storages, reads one
inside another; the inner one may not do so again.
"""

import io
import zipfile
from collections.abc import Callable

from rs_runtime.contracts.errors import MalformedFileError, UnsafeFileError
from rs_train.importers.inert import ALLOWED, DTYPES, Function, Storage, StorageType
from rs_train.importers.unpickle import Names, load

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_ENTRIES = 100_000
_MAX_PICKLE_BYTES = 256 << 20
_ENCRYPTED = 0x1


def read_checkpoint(data: bytes, names: Names = ALLOWED) -> tuple[str, object]:
    """Read any of the containers.

    Args:
        data: The whole file.
        names: What its pickle may name, and the stand-in of each.

    Returns:
        The container's name, and its root object: containers, plain values and stand-ins.

    Raises:
        UnsafeFileError: It carries code, or data where none belongs.
        MalformedFileError: Damaged, or none of the containers.
    """
    _refuse_other_kinds(data)
    if data.startswith(b"PK\x03\x04"):
        return "PyTorch archive", _read_zip(data, names)
    if _is_legacy(data):
        return "PyTorch stream", _read_legacy(data, names)
    stream = io.BytesIO(data)
    root = load(stream, {**names, ("torch.storage", "_load_from_bytes"): _LOAD_FROM_BYTES})
    _require_end(stream, len(data))
    return "pickle", root


def _refuse_other_kinds(data: bytes) -> None:
    start = data[:512].lstrip().lower()
    kinds = (
        (not data, "an empty file", "download it again"),
        (start.startswith(b"version https://git-lfs"), "a Git LFS pointer", "git lfs pull"),
        (start.startswith(b"<"), "an HTML page", "download the file itself, in a browser"),
        (data[8:9] == b"{", "a safetensors file", "what rs-train wrote needs no import"),
        (data.startswith(b"\x89HDF"), "an HDF5 file", "a PyTorch checkpoint is needed"),
    )
    for found, what, hint in kinds:
        if found:
            raise MalformedFileError(
                "not a checkpoint", found=what, expected="a .pt or .pkl file", hint=hint
            )


# ------------------------------------------------------------------------------------------- zip


def _read_zip(data: bytes, names: Names) -> object:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise MalformedFileError("its archive is damaged or cut off") from error
    records = _records(archive)

    def read(name: str) -> bytes:
        if name not in records:
            raise MalformedFileError("its archive lacks a part", found="no " + name[:60])
        try:
            return archive.read(records[name])
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise MalformedFileError(
                f"its part {name[:60]} is damaged",
                found=str(error)[:100],
                hint="download it again",
            ) from error

    if records.get("byteorder") is not None and read("byteorder") != b"little":
        raise MalformedFileError("its numbers are not little-endian")
    if "data.pkl" in records and records["data.pkl"].file_size > _MAX_PICKLE_BYTES:
        raise UnsafeFileError("its pickle is too large for a checkpoint")
    stream = io.BytesIO(read("data.pkl"))
    root = load(stream, names, _storages(lambda key: read(f"data/{key}")))
    _require_end(stream, len(stream.getvalue()))
    return root


def _records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's parts without the name of its folder."""
    infos = archive.infolist()
    if len(infos) > _MAX_ENTRIES:
        raise UnsafeFileError("its archive has too many parts", found=f"{len(infos):,}")
    records: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        folder, _, name = info.filename.partition("/")
        folders.add(folder)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise UnsafeFileError(
                "its archive is compressed or encrypted", expected="stored parts, as PyTorch writes"
            )
        if name in records or len(folders) > 1:
            raise UnsafeFileError("its archive has a part twice, or more than one folder")
        records[name] = info
    if any(name.startswith("code/") for name in records):
        raise UnsafeFileError(
            "a TorchScript program", expected="a checkpoint: tensors and plain containers"
        )
    return records


# ---------------------------------------------------------------------------------------- stream


def _is_legacy(data: bytes) -> bool:
    # The magic number as a pickle of its own: PROTO 2, LONG1 of ten bytes.
    return data[2:14] == b"\x8a\x0a" + _MAGIC.to_bytes(10, "little") and data[:1] == b"\x80"


def _read_legacy(data: bytes, names: Names) -> object:
    stream = io.BytesIO(data)
    if load(stream, {}) != _MAGIC or load(stream, {}) != _PROTOCOL:
        raise MalformedFileError("not a stream of torch.save")
    system = load(stream, {})
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise MalformedFileError("its numbers are not little-endian")
    places: dict[str, memoryview] = {}
    dtypes: dict[str, str] = {}

    def read(key: str) -> memoryview:
        if key not in places:
            raise MalformedFileError("it lacks the data of a storage")
        return places[key]

    root = load(stream, names, _storages(read, dtypes))
    keys = load(stream, {})
    if not isinstance(keys, list) or set(map(str, keys)) != set(dtypes) or len(keys) != len(dtypes):
        raise MalformedFileError("its list of storages does not fit its tensors")
    view = memoryview(data)
    position = stream.tell()
    for key in map(str, keys):
        numel = int.from_bytes(view[position : position + 8], "little")
        size = numel * DTYPES[dtypes[key]].itemsize
        position += 8
        if position + size > len(data):
            raise MalformedFileError("it ends early", hint="download it again")
        places[key] = view[position : position + size]
        position += size
    stream.seek(position)
    _require_end(stream, len(data))
    return root


def _load_from_bytes(data: object) -> Storage:
    if not isinstance(data, bytes) or not _is_legacy(data):
        raise MalformedFileError("a storage that is not written as PyTorch writes it")
    storage = _read_legacy(data, ALLOWED)
    if not isinstance(storage, Storage):
        raise MalformedFileError("a storage's data is something else")
    return storage


_LOAD_FROM_BYTES = Function(_load_from_bytes)


# ---------------------------------------------------------------------------------------- shared


def _storages(
    read: Callable[[str], bytes | memoryview], dtypes: dict[str, str] | None = None
) -> Callable[[object], Storage]:
    """What a persistent id means; `dtypes` collects the element type of every key."""
    known: dict[str, Storage] = {}

    def storage(pid: object) -> Storage:
        sound = (
            isinstance(pid, tuple)
            and len(pid) in (5, 6)
            and pid[0] == "storage"
            and isinstance(pid[1], StorageType)
            and isinstance(pid[2], str)
            and type(pid[4]) is int
            and pid[4] >= 0
            and pid[5:] in ((), (None,))
        )
        if not sound:
            raise MalformedFileError("a storage is not described as PyTorch describes it")
        key = pid[2]
        found = known.setdefault(key, Storage(pid[1].dtype, pid[4], lambda: read(key)))
        if (found.dtype, found.numel) != (pid[1].dtype, pid[4]):
            raise MalformedFileError("a storage is described in two ways")
        if dtypes is not None:
            dtypes[key] = found.dtype
        return found

    return storage


def _require_end(stream: io.BytesIO, length: int) -> None:
    if stream.tell() != length:
        raise UnsafeFileError(
            "data behind the end of the checkpoint", found=f"{length - stream.tell():,} bytes"
        )
