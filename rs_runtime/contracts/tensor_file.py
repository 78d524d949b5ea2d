"""The strict container under a token set: a safetensors file with exactly one canonical writing.

A safetensors file is an 8-byte little-endian header length, a JSON header that names dtype, shape
and byte range of every tensor, and the bytes. The format leaves room (duplicate keys, spaces,
unknown fields, any order, any name); here it is closed, so that equal content means equal bytes:
tensors sorted by name, no gaps, one metadata entry, the header padded with spaces to a multiple of
eight. Files written here are what the safetensors library itself would write.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rs_runtime.contracts.errors import MalformedFileError
from rs_runtime.contracts.strict_json import parse_json

METADATA_KEY = "refinestyle"
MAX_HEADER_BYTES = 1_000_000
MAX_TENSORS = 4096
MAX_DIMS = 4
MAX_SIDE = 1 << 24
ITEM_BYTES: Mapping[str, int] = {"F16": 2, "F32": 4}

_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_FIELDS = frozenset(("dtype", "shape", "data_offsets"))


class Entry(NamedTuple):
    """One tensor of the file.

    Attributes:
        name: Its name.
        dtype: `"F16"` or `"F32"`.
        shape: 1 to 4 sides, each at least 1.
        begin: First byte in the data part.
        end: One past its last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Container(NamedTuple):
    """A parsed file.

    Attributes:
        metadata: The one metadata string.
        entries: The tensors, sorted by name, without gaps.
        payload: The data part.
    """

    metadata: str
    entries: tuple[Entry, ...]
    payload: memoryview


def place_tensors(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[Entry, ...]:
    """Lay tensors out in canonical order.

    Args:
        tensors: dtype and shape by name.

    Returns:
        Entries sorted by name, contiguous from byte 0.
    """
    entries = []
    begin = 0
    for name in sorted(tensors):
        dtype, shape = tensors[name]
        end = begin + math.prod(shape) * ITEM_BYTES[dtype]
        entries.append(Entry(name, dtype, tuple(shape), begin, end))
        begin = end
    return tuple(entries)


def build_header(metadata: str, entries: Sequence[Entry]) -> bytes:
    """Return the canonical header, padded, without its length.

    Args:
        metadata: The one metadata string.
        entries: From `place_tensors`.

    Returns:
        ASCII JSON followed by spaces, a multiple of 8 bytes long.
    """
    header: dict[str, Any] = {"__metadata__": {METADATA_KEY: metadata}}
    for name, dtype, shape, begin, end in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return text + b" " * (-len(text) % 8)


def parse_container(data: bytes, what: str) -> Container:
    """Parse a file and refuse everything that is not its canonical writing.

    Args:
        data: The whole file.
        what: The file's name for messages.

    Returns:
        Metadata, entries and a view of the data part.

    Raises:
        MalformedFileError: Any deviation; each has its own message.
    """
    if len(data) < 8:
        raise _refusal(what, "it ends before its header length", f"{len(data)} bytes", "8 or more")
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER_BYTES:
        raise _refusal(what, "its header is too large", f"{size}", f"at most {MAX_HEADER_BYTES}")
    header = data[8 : 8 + size]
    if len(header) < size:
        raise _refusal(what, "it ends inside its header", f"{len(header)} bytes", f"{size}")
    if header[:1] != b"{":
        raise _refusal(what, "its header does not start with {", repr(header[:1])[1:], "'{'")
    tree = parse_json(header, f"{what}: header")
    metadata = _metadata(tree, what)
    if not 1 <= len(tree) <= MAX_TENSORS:
        raise _refusal(what, "its number of tensors", f"{len(tree)}", f"1 to {MAX_TENSORS}")
    payload = memoryview(data)[8 + size :]
    entries = _entries(tree, what)
    stated = entries[-1].end
    if len(payload) != stated:
        problem = "it ends inside its data" if len(payload) < stated else "bytes follow its data"
        raise _refusal(what, problem, f"{len(payload)} bytes of data", f"{stated}")
    if header != build_header(metadata, entries):
        raise _refusal(what, "its header is not in canonical form", "another writing of it", "")
    return Container(metadata, entries, payload)


def _metadata(tree: dict[str, Any], what: str) -> str:
    """Take the metadata string out of the header."""
    metadata = tree.pop("__metadata__", None)
    if metadata is None:
        raise _refusal(what, "its header has no metadata", "", f"the entry {METADATA_KEY!r}")
    if not isinstance(metadata, dict):
        raise _refusal(what, "its metadata is not an object", type(metadata).__name__, "an object")
    if list(metadata) != [METADATA_KEY]:
        found = ", ".join(sorted(metadata)[:8]) or "none"
        raise _refusal(what, "its metadata entries", found, f"exactly {METADATA_KEY!r}")
    text = metadata[METADATA_KEY]
    if not isinstance(text, str):
        raise _refusal(what, "its metadata entry is not text", type(text).__name__, "a string")
    return text


def _entries(tree: dict[str, Any], what: str) -> tuple[Entry, ...]:
    entries = []
    begin = 0
    before = ""
    for name, fields in tree.items():
        if not _NAME.fullmatch(name) or ".." in name:
            raise _refusal(what, "a tensor name", repr(name[:140]), "letters, digits, _ . / -")
        if name < before:
            raise _refusal(what, "its tensors are out of order", f"{name} after {before}", "sorted")
        entry = _entry(name, fields, what)
        if entry.begin != begin:
            problem = "leaves a gap before" if entry.begin > begin else "overlaps the tensor before"
            raise _refusal(what, f"{name} {problem} it", f"offset {entry.begin}", f"{begin}")
        if entry.end - begin != math.prod(entry.shape) * ITEM_BYTES[entry.dtype]:
            size = math.prod(entry.shape) * ITEM_BYTES[entry.dtype]
            raise _refusal(what, f"byte range of {name}", f"{entry.end - begin} bytes", f"{size}")
        entries.append(entry)
        begin, before = entry.end, name
    return tuple(entries)


def _entry(name: str, fields: Any, what: str) -> Entry:
    """Check one tensor's fields; the dtype and the sides first, they bound everything else."""
    if not isinstance(fields, dict):
        raise _refusal(what, f"{name} is not an object", type(fields).__name__, "an object")
    if fields.keys() != _FIELDS:
        found = ", ".join(sorted(fields)[:8]) or "none"
        raise _refusal(what, f"fields of {name}", found, ", ".join(sorted(_FIELDS)))
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _refusal(what, f"dtype of {name}", repr(dtype)[:40], "F16 or F32")
    if not isinstance(shape, list):
        raise _refusal(what, f"shape of {name} is not a list", type(shape).__name__, "a list")
    if not 1 <= len(shape) <= MAX_DIMS:
        raise _refusal(what, f"number of sides of {name}", f"{len(shape)}", f"1 to {MAX_DIMS}")
    if any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in shape):
        raise _refusal(what, f"sides of {name}", repr(shape)[:80], f"integers 1 to {MAX_SIDE}")
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise _refusal(what, f"offsets of {name}", repr(offsets)[:80], "two integers")
    if any(type(offset) is not int or not 0 <= offset < 1 << 48 for offset in offsets):
        raise _refusal(what, f"offsets of {name} are out of range", repr(offsets)[:80], "")
    return Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _refusal(what: str, problem: str, found: str, expected: str) -> MalformedFileError:
    return MalformedFileError(f"{what}: {problem}", found=found, expected=expected)
