"""Tensor files that vouch for themselves: token sets and directions.

A canonical safetensors file (`tensor_file`) with one JSON object as metadata, hashed over header
and data, so that no changed file is ever accepted. The file names the generator it was made for by
the SHA-256 of that generator's weights; a reader that knows its generator refuses any other.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    NumericsError,
    UsageError,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.strict_json import canonical_json, parse_json
from rs_runtime.contracts.tensor_file import (
    ITEM_BYTES,
    Container,
    build_header,
    parse_container,
    place_tensors,
)

MAX_VALUE = 1e6
MAX_TEXT = 4096
MAX_NAME = 64

Shapes = Mapping[str, tuple[int, ...]]

_NO_HASH = "0" * 64
_NUMPY: Mapping[str, np.dtype] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_HASH = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}")
_COMMON: Mapping[str, type] = {
    "dtype": str,
    "fingerprint": str,
    "format": str,
    "kind": str,
    "layer_table": str,
    "licence": str,
    "name": str,
    "sha256": str,
    "source": str,
    "version": str,
}


@dataclass(frozen=True)
class SealedFormat:
    """One kind of file.

    Attributes:
        noun: What messages call it: "token set".
        name: `format` of its metadata.
        version: `version` of its metadata; readers accept any minor version of the major one.
        kinds: Values of `kind`.
        fields: Type of each metadata field that this format has beside the common ones.
        check: Its own rules, given metadata, shapes by tensor name, and the file's name for
            messages; raises MalformedFileError.
    """

    noun: str
    name: str
    version: str
    kinds: tuple[str, ...]
    fields: Mapping[str, type]
    check: Callable[[dict[str, Any], Shapes, str], None]

    @property
    def metadata(self) -> dict[str, type]:
        """Type of every metadata field."""
        return {**_COMMON, **self.fields}

    def check_metadata(self, metadata: Any, what: str) -> None:
        """Check every common field; the version first, it decides what the others are.

        Raises:
            MalformedFileError: Another format, missing, unknown or mistyped fields, or values that
                the format does not have.
            IncompatibleError: Another major version.
        """
        if not isinstance(metadata, dict) or metadata.get("format") != self.name:
            found = str(metadata.get("format"))[:40] if isinstance(metadata, dict) else "no object"
            raise MalformedFileError(f"{what}: not a {self.noun}", found=found, expected=self.name)
        version = metadata.get("version")
        match = _VERSION.fullmatch(version) if isinstance(version, str) else None
        if not match:
            raise MalformedFileError(f"{what}: its format version", found=repr(version)[:40])
        if match[1] != self.version.split(".")[0]:
            raise IncompatibleError(
                f"{what}: a {self.noun} of another format version",
                found=version,
                expected=self.version,
                hint=f"update this program or export the {self.noun} again",
            )
        wanted = self.metadata
        if metadata.keys() != wanted.keys():
            wrong = ", ".join(sorted(metadata.keys() ^ wanted.keys())[:8])
            raise MalformedFileError(f"{what}: metadata fields missing or unknown", found=wrong)
        for field, kind in wanted.items():
            if type(metadata[field]) is not kind:
                raise MalformedFileError(
                    f"{what}: type of metadata field {field}",
                    found=type(metadata[field]).__name__,
                    expected=kind.__name__,
                )
        self._check_values(metadata, what)

    def _check_values(self, metadata: dict[str, Any], what: str) -> None:
        for field in ("fingerprint", "layer_table", "sha256"):
            if not _HASH.fullmatch(metadata[field]):
                raise MalformedFileError(
                    f"{what}: metadata field {field} is not a SHA-256",
                    found=metadata[field][:80],
                    expected="64 hexadecimal digits",
                )
        for field in ("licence", "source"):
            check_text_field(metadata, field, what)
        if metadata["kind"] not in self.kinds:
            raise MalformedFileError(
                f"{what}: its kind", found=metadata["kind"][:40], expected=" or ".join(self.kinds)
            )
        if metadata["dtype"] not in ITEM_BYTES:
            raise MalformedFileError(
                f"{what}: its stated dtype", found=metadata["dtype"][:40], expected="F16 or F32"
            )
        name = metadata["name"]
        if name != clean_name(name):
            raise MalformedFileError(
                f"{what}: its name", found=name[:80], expected=f"such as {clean_name(name)!r}"
            )


def clean_name(text: str) -> str:
    """Return the nearest valid name of a token set or direction.

    Args:
        text: Anything, for example a file's stem.

    Returns:
        1 to 64 characters: letters and digits of any script, space, `_ . + -`; everything else
        became `_`; no dot or space at either end. It is still a label, never a path.
    """
    kept = "".join(ch if ch.isalnum() or ch in " _.+-" else "_" for ch in text)
    return kept[:MAX_NAME].strip(" .") or "unnamed"


def check_text_field(metadata: Mapping[str, Any], field: str, what: str) -> None:
    """Refuse text that is too long or that a terminal would obey."""
    text = metadata[field]
    if len(text) > MAX_TEXT or not text.isprintable():
        raise MalformedFileError(
            f"{what}: metadata field {field}",
            found=f"{len(text)} characters" if text.isprintable() else "control characters",
            expected=f"at most {MAX_TEXT} printable characters",
        )


def check_origin(
    metadata: Mapping[str, Any],
    what: str,
    table: LayerTable | None,
    fingerprint: str | None,
    allow_foreign: bool,
) -> None:
    """Refuse what was made for another generator, unless it is wanted.

    Raises:
        IncompatibleError: The fingerprint or the hash of the layer table is another.
    """
    if allow_foreign:
        return
    wanted = {"fingerprint": fingerprint, "layer_table": table and table.hash}
    for field, value in wanted.items():
        if value is not None and metadata[field] != value:
            raise IncompatibleError(
                f"{what}: made for another generator",
                found=f"{field.replace('_', ' ')} {metadata[field][:16]}…",
                expected=f"{value[:16]}…",
                hint="use the bundle it was made with, or make it again for this one",
            )


# ---------------------------------------------------------------------------------------- writing


def as_stored(arrays: Mapping[str, np.ndarray], dtype: str, what: str) -> dict[str, np.ndarray]:
    """Cast arrays to the dtype of a file.

    Args:
        arrays: Of any float dtype, by tensor name.
        dtype: `"F16"` or `"F32"`.
        what: Names the set in messages.

    Raises:
        UsageError: An unknown dtype, or an array that is not of floats.
        NumericsError: A value that is not finite, or too large for the dtype.
    """
    stored = _NUMPY.get(dtype)
    if stored is None:
        raise UsageError(f"dtype of {what}", found=str(dtype), expected="F16 or F32")
    cast = {}
    for name, array in arrays.items():
        array = np.asarray(array)
        _require_values(array, f"{what}: {name}", NumericsError)
        with np.errstate(over="ignore"):
            cast[name] = array.astype(stored)
        if not np.isfinite(cast[name]).all():
            raise NumericsError(f"{what}: {name} does not fit {dtype}", hint="store it as F32")
    return cast


def seal(
    file_format: SealedFormat, metadata: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> bytes:
    """Return the file of metadata and arrays; equal content gives equal bytes.

    Args:
        file_format: Its format.
        metadata: Every field but `format`, `version` and `sha256`.
        arrays: From `as_stored`, by tensor name.

    Raises:
        UsageError: Content that breaks a rule of the format.
    """
    own = {"format": file_format.name, "version": file_format.version, "sha256": _NO_HASH}
    fields = {**metadata, **own}
    what = f"the {file_format.noun}"
    try:
        file_format.check_metadata(fields, what)
        file_format.check(fields, {name: a.shape for name, a in arrays.items()}, what)
    except MalformedFileError as error:
        raise UsageError(error.what, found=error.found, expected=error.expected) from error
    entries = place_tensors({name: (fields["dtype"], a.shape) for name, a in arrays.items()})
    payload = b"".join(arrays[entry.name].tobytes() for entry in entries)
    blank = build_header(canonical_json(fields).decode("ascii"), entries)
    fields["sha256"] = hashlib.sha256(blank + payload).hexdigest()
    header = build_header(canonical_json(fields).decode("ascii"), entries)
    return len(header).to_bytes(8, "little") + header + payload


# ---------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Unsealed:
    """A file whose container, metadata, hash and shapes are sound.

    Attributes:
        metadata: Its fields.
        shapes: By tensor name.
        what: The file's name for messages.
    """

    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    what: str
    _container: Container

    def arrays(self) -> dict[str, np.ndarray]:
        """The values by tensor name, in the dtype of the file: read-only views of its bytes.

        Raises:
            MalformedFileError: A tensor of another dtype than the stated one, or a value that is
                not finite or too large.
        """
        entries = self._container.entries
        stored = {entry.dtype for entry in entries}
        if stored != {self.metadata["dtype"]}:
            raise MalformedFileError(
                f"{self.what}: its tensors are not of the stated dtype",
                found=", ".join(sorted(stored)),
                expected=self.metadata["dtype"],
            )
        arrays = {}
        for entry in entries:
            raw = self._container.payload[entry.begin : entry.end]
            array = np.frombuffer(raw, dtype=_NUMPY[entry.dtype]).reshape(entry.shape)
            _require_values(array, f"{self.what}: {entry.name}", MalformedFileError)
            arrays[entry.name] = array
        return arrays


def unseal(data: bytes, file_format: SealedFormat, what: str) -> Unsealed:
    """Check a file's container, metadata, hash and the rules of its format.

    Args:
        data: The whole file.
        file_format: What it must be.
        what: Its name for messages.

    Raises:
        MalformedFileError: Damaged, changed, or against a rule of the format.
        IncompatibleError: A newer version.
    """
    container = parse_container(data, what)
    metadata = parse_json(container.metadata.encode("utf-8", "surrogatepass"), f"{what}: metadata")
    file_format.check_metadata(metadata, what)
    _check_hash(container, metadata, what)
    shapes = {entry.name: entry.shape for entry in container.entries}
    file_format.check(metadata, shapes, what)
    return Unsealed(metadata, shapes, what, container)


def _check_hash(container: Container, metadata: dict[str, Any], what: str) -> None:
    if canonical_json(metadata) != container.metadata.encode("utf-8", "surrogatepass"):
        raise MalformedFileError(f"{what}: its metadata is not in canonical form")
    blank = canonical_json(metadata | {"sha256": _NO_HASH}).decode("ascii")
    digest = hashlib.sha256(build_header(blank, container.entries))
    digest.update(container.payload)
    if digest.hexdigest() != metadata["sha256"]:
        raise MalformedFileError(
            f"{what}: its content does not match its own SHA-256",
            found=digest.hexdigest(),
            expected=metadata["sha256"],
            hint="the file is damaged or was edited; get it again",
        )


def _require_values(
    array: np.ndarray, name: str, error: type[MalformedFileError] | type[NumericsError]
) -> None:
    if array.dtype.kind != "f":
        raise UsageError(f"{name}: not an array of floats", found=str(array.dtype))
    good = np.abs(array.astype(np.float64)) <= MAX_VALUE  # False for NaN
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        raise error(
            f"{name}: a value that is not finite or too large",
            found=f"{array[where]} at {list(where)}",
            expected=f"at most {MAX_VALUE:g} in size",
        )
