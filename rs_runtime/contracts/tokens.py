"""Token sets: what refines a generator for one picture or moves it into a domain, and their file.

A token set holds up to four groups, at least one of them:

* `<layer>/P` [L, Cout] with `<layer>/Q` [L, Cin], the factors of the residual dW = Pᵀ Q of a
  convolution (Eq. 3), with the learned scales A, B of Eq. 4 folded in; layers that are not refined
  are absent;
* `<layer>/style_offset` [Cin], added to the style, for all convolutions, all or no toRGBs;
* `<layer>/modulation` [Cin], multiplied onto the input of all convolutions;
* `w_plus` [num_ws, w_dim], in sets of kind `image` only.

The file is a `sealed_file`; its own rules are in `token_rules`.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rs_runtime.contracts.errors import InternalError, UsageError
from rs_runtime.contracts.files import PathLike, read_file, write_atomic
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.sealed_file import (
    Unsealed,
    as_stored,
    check_origin,
    clean_name,
    seal,
    unseal,
)
from rs_runtime.contracts.strict_json import canonical_json
from rs_runtime.contracts.token_rules import (
    GROUPS,
    TOKENS,
    check_table,
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

Kind = Literal["image", "domain"]
Dtype = Literal["F16", "F32"]


@dataclass(frozen=True, eq=False)
class TokenSet:
    """One set of tokens.

    Arrays may be of any float dtype. Those of a file keep what it stores, so that a thousand
    domains in memory take what their files take: widen F16 before you calculate with it.

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
    arrays = as_stored(_tensors(token_set), token_set.dtype, token_set.name)
    metadata = {
        "dtype": token_set.dtype,
        "fingerprint": token_set.fingerprint,
        "kind": token_set.kind,
        "layer_table": token_set.table_hash,
        "licence": token_set.licence,
        "name": token_set.name,
        "rank": token_set.rank,
        "source": token_set.source,
    }
    data = seal(TOKENS, metadata, arrays)
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
        The set, its arrays in the dtype of the file. P of all layers lie side by side in memory,
        and so do Q, where `table` is given and all have one rank.

    Raises:
        MalformedFileError: Damaged, changed, or against a rule of the format.
        IncompatibleError: A newer format, another generator, or shapes that do not fit `table`.
    """
    what = name_hint or "token set"
    opened = unseal(data, TOKENS, what)
    check_origin(opened.metadata, what, table, fingerprint, allow_foreign)
    if table is not None:
        check_table(opened.shapes, what, table)
    return _token_set(opened, () if table is None else [layer.name for layer in table.convs])


def _token_set(opened: Unsealed, order: Sequence[str]) -> TokenSet:
    metadata = opened.metadata
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in (*GROUPS, "w_plus")}
    for name, array in opened.arrays().items():
        layer, _, group = name.rpartition("/")
        groups[group][layer] = array if group in ("P", "Q") else array.copy()
    return TokenSet(
        kind=metadata["kind"],
        name=metadata["name"],
        P=_side_by_side(groups["P"], order),
        Q=_side_by_side(groups["Q"], order),
        style_offset=groups["style_offset"],
        modulation=groups["modulation"],
        w_plus=groups["w_plus"].get(""),
        source=metadata["source"],
        licence=metadata["licence"],
        fingerprint=metadata["fingerprint"],
        table_hash=metadata["layer_table"],
        dtype=metadata["dtype"],
    )


def _side_by_side(group: Mapping[str, np.ndarray], order: Sequence[str]) -> dict[str, np.ndarray]:
    """Copies [L, C]: columns of one array in that order, if all are there and have one L."""
    if group.keys() != set(order) or len({len(array) for array in group.values()}) != 1:
        return {layer: array.copy() for layer, array in group.items()}
    ends = np.cumsum([group[layer].shape[1] for layer in order])
    columns = np.split(np.concatenate([group[layer] for layer in order], axis=1), ends[:-1], axis=1)
    return dict(zip(order, columns, strict=True))
