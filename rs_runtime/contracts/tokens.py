"""Token sets: what refines a generator for one picture or moves it into a domain, and their file.

A token set holds up to four groups, at least one of them:

* `<layer>/P` [L, Cout] with `<layer>/Q` [L, Cin], the factors of the residual dW = Pᵀ Q of a
  convolution (Eq. 3), with the learned scales A, B of Eq. 4 folded in; layers that are not refined
  are absent;
* `<layer>/style_offset` [Cin], added to the style, for all convolutions, all or no toRGBs;
* `<layer>/modulation` [Cin], multiplied onto the input of all convolutions;
* `w_plus` [num_ws, w_dim], in sets of kind `image` only.

The file is a canonical safetensors file (`tensor_file`) with one JSON string as metadata, hashed
over header and data, so that no changed file is ever accepted. A set names the generator it was
made for by the SHA-256 of that generator's weights; a reader that knows its generator refuses any
other. The rules are in `token_rules`.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rs_runtime.contracts.errors import (
    InternalError,
    MalformedFileError,
    NumericsError,
    UsageError,
)
from rs_runtime.contracts.files import PathLike, read_file, write_atomic
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.strict_json import canonical_json, parse_json
from rs_runtime.contracts.tensor_file import (
    Container,
    build_header,
    parse_container,
    place_tensors,
)
from rs_runtime.contracts.token_rules import (
    FORMAT,
    GROUPS,
    VERSION,
    check_groups,
    check_metadata,
    check_origin,
    check_table,
    clean_name,
)

__all__ = [
    "TokenSet",
    "clean_name",
    "decode_token_set",
    "encode_token_set",
    "fingerprint_synthesis",
    "read_token_set",
    "write_token_set",
]

MAX_TOKEN_FILE_BYTES = 20_000_000
MAX_VALUE = 1e6

_NO_HASH = "0" * 64
_NUMPY: Mapping[str, np.dtype] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}

Kind = Literal["image", "domain"]
Dtype = Literal["F16", "F32"]


@dataclass(frozen=True, eq=False)
class TokenSet:
    """One set of tokens; arrays are float32 whatever the file stores.

    Attributes:
        kind: `"image"` (an inverted picture) or `"domain"`.
        name: What to call it: letters, digits, spaces, `_ . + -`; see `clean_name`.
        P: By convolution name, [L, Cout]; L may differ between layers.
        Q: By convolution name, [L, Cin]; the same layers and L as `P`.
        style_offset: By layer name, [Cin].
        modulation: By convolution name, [Cin]; 1 changes nothing.
        w_plus: [num_ws, w_dim] of an image set, or None.
        source: Prompt, or hash of the picture or references.
        licence: SPDX name or a sentence.
        fingerprint: `fingerprint_synthesis` of the generator it was made for.
        table_hash: `LayerTable.hash` of that generator.
        dtype: How values are stored in a file.
    """

    kind: Kind
    name: str
    P: dict[str, np.ndarray]
    Q: dict[str, np.ndarray]
    style_offset: dict[str, np.ndarray]
    modulation: dict[str, np.ndarray]
    w_plus: np.ndarray | None
    source: str
    licence: str
    fingerprint: str
    table_hash: str
    dtype: Dtype = "F32"

    @property
    def rank(self) -> int:
        """Largest L over the layers; 0 without P and Q."""
        return max((factor.shape[0] for factor in self.P.values()), default=0)


def fingerprint_synthesis(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 that names a generator.

    Args:
        tensors: The synthesis network's tensors by canonical name, float32, before any cast to
            another precision. Order does not matter.

    Returns:
        64 hexadecimal digits over, by sorted name: name, shape and little-endian bytes.

    Raises:
        InternalError: A tensor is not float32.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.dtype != np.float32:
            raise InternalError(
                f"fingerprint of {name}", found=str(tensor.dtype), expected="float32"
            )
        digest.update(canonical_json([name, list(tensor.shape)]))
        digest.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------- writing


def encode_token_set(token_set: TokenSet) -> bytes:
    """Return the file of a token set; equal sets give equal bytes.

    Args:
        token_set: Its arrays may be of any float dtype.

    Returns:
        The bytes of a `.tokens` file.

    Raises:
        UsageError: A field breaks the rules of the format.
        NumericsError: A value is not finite, or too large for the dtype it is stored in.
    """
    stored = _NUMPY.get(token_set.dtype)
    if stored is None:
        raise UsageError(
            "dtype of the token set", found=str(token_set.dtype), expected="F16 or F32"
        )
    arrays = {name: np.asarray(array) for name, array in _tensors(token_set).items()}
    for name, array in arrays.items():
        _require_values(array, f"{token_set.name}: {name}", NumericsError)
        with np.errstate(over="ignore"):
            arrays[name] = array.astype(stored)
        if not np.isfinite(arrays[name]).all():
            raise NumericsError(
                f"{token_set.name}: {name} does not fit {token_set.dtype}", hint="store it as F32"
            )
    metadata = {
        "dtype": token_set.dtype,
        "fingerprint": token_set.fingerprint,
        "format": FORMAT,
        "kind": token_set.kind,
        "layer_table": token_set.table_hash,
        "licence": token_set.licence,
        "name": token_set.name,
        "rank": token_set.rank,
        "sha256": _NO_HASH,
        "source": token_set.source,
        "version": VERSION,
    }
    try:
        check_metadata(metadata, "the token set")
        check_groups({name: array.shape for name, array in arrays.items()}, metadata, "the set")
    except MalformedFileError as error:
        raise UsageError(error.what, found=error.found, expected=error.expected) from error
    entries = place_tensors({n: (token_set.dtype, array.shape) for n, array in arrays.items()})
    payload = b"".join(arrays[entry.name].tobytes() for entry in entries)
    blank = build_header(canonical_json(metadata).decode("ascii"), entries)
    metadata["sha256"] = hashlib.sha256(blank + payload).hexdigest()
    header = build_header(canonical_json(metadata).decode("ascii"), entries)
    data = len(header).to_bytes(8, "little") + header + payload
    if len(data) > MAX_TOKEN_FILE_BYTES:
        raise UsageError(
            f"{token_set.name}: the token set is too large for a file",
            found=f"{len(data):,} bytes",
            expected=f"at most {MAX_TOKEN_FILE_BYTES:,}",
            hint="store it as F16 or lower its rank",
        )
    return data


def write_token_set(path: PathLike, token_set: TokenSet) -> None:
    """Write a token set's file atomically.

    Raises:
        UsageError: See `encode_token_set`.
        NumericsError: See `encode_token_set`.
        ResourceError: See `write_atomic`.
    """
    write_atomic(path, encode_token_set(token_set))


def _tensors(token_set: TokenSet) -> dict[str, np.ndarray]:
    tensors = {
        f"{layer}/{group}": array
        for group in GROUPS
        for layer, array in getattr(token_set, group).items()
    }
    if token_set.w_plus is not None:
        tensors["w_plus"] = token_set.w_plus
    return tensors


# ---------------------------------------------------------------------------------------- reading


def read_token_set(
    path: PathLike,
    *,
    table: LayerTable | None,
    fingerprint: str | None,
    allow_foreign: bool = False,
) -> TokenSet:
    """Read a token set's file; arguments and errors as `decode_token_set` and `read_file`."""
    data = read_file(path, max_bytes=MAX_TOKEN_FILE_BYTES, what="token set")
    return decode_token_set(
        data,
        table=table,
        fingerprint=fingerprint,
        allow_foreign=allow_foreign,
        name_hint=os.fspath(path),
    )


def decode_token_set(
    data: bytes,
    *,
    table: LayerTable | None,
    fingerprint: str | None,
    allow_foreign: bool = False,
    name_hint: str = "",
) -> TokenSet:
    """Read a token set from its bytes.

    Args:
        data: A whole `.tokens` file.
        table: The layer table it must fit, or None to check the file alone.
        fingerprint: The generator it must have been made for, or None for any.
        allow_foreign: Accept another generator's set as long as its shapes fit `table`.
        name_hint: The file's name for messages.

    Returns:
        The set, with float32 arrays.

    Raises:
        MalformedFileError: Damaged, changed, or against a rule of the format.
        IncompatibleError: A newer format, another generator, or shapes that do not fit `table`.
    """
    what = name_hint or "token set"
    container = parse_container(data, what)
    metadata = parse_json(container.metadata.encode("utf-8", "surrogatepass"), f"{what}: metadata")
    check_metadata(metadata, what)
    _check_hash(container, metadata, what)
    shapes = {entry.name: entry.shape for entry in container.entries}
    check_groups(shapes, metadata, what)
    stored = {entry.dtype for entry in container.entries}
    if stored != {metadata["dtype"]}:
        raise MalformedFileError(
            f"{what}: its tensors are not of the stated dtype",
            found=", ".join(sorted(stored)),
            expected=metadata["dtype"],
        )
    check_origin(metadata, what, table, fingerprint, allow_foreign)
    if table is not None:
        check_table(shapes, what, table)
    return _token_set(container, metadata, what)


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


def _token_set(container: Container, metadata: dict[str, Any], what: str) -> TokenSet:
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in (*GROUPS, "w_plus")}
    for entry in container.entries:
        raw = container.payload[entry.begin : entry.end]
        array = np.frombuffer(raw, dtype=_NUMPY[entry.dtype]).reshape(entry.shape)
        _require_values(array, f"{what}: {entry.name}", MalformedFileError)
        layer, _, group = entry.name.rpartition("/")
        groups[group][layer] = array.astype(np.float32)
    return TokenSet(
        kind=metadata["kind"],
        name=metadata["name"],
        P=groups["P"],
        Q=groups["Q"],
        style_offset=groups["style_offset"],
        modulation=groups["modulation"],
        w_plus=groups["w_plus"].get(""),
        source=metadata["source"],
        licence=metadata["licence"],
        fingerprint=metadata["fingerprint"],
        table_hash=metadata["layer_table"],
        dtype=metadata["dtype"],
    )
