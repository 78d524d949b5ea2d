"""Directions: edits of a latent or of styles, and their file `NAME.direction`.

An edit of strength λ changes a picture's latent or styles and leaves its tokens alone:

* `linear` adds to the latent, w_plus += λ · step (InterFaceGAN's, and those of pSp's family);
* `absolute` moves it towards a coordinate, w_plus += λ · axis·(goal − w_plus[0]) · step (GANSpace's
  edits; λ = 1 goes all the way, wherever the picture was);
* `style` adds to styles, Δs += λ · style_offset (StyleSpace).

So λ = 0 changes nothing in any of them, and edits add up. The file is a `sealed_file` with

* `step` [num_ws, w_dim], zero in the rows that stay, in directions of kind linear and absolute;
* `axis` [w_dim] and `goal` [w_dim] in those of kind absolute;
* `<layer>/style_offset` [Cin] for some of the layers in those of kind style.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.files import PathLike, read_file, write_atomic
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.sealed_file import (
    SealedFormat,
    Shapes,
    as_stored,
    check_origin,
    check_text_field,
    seal,
    unseal,
)

__all__ = [
    "DIRECTION",
    "MAX_DIRECTION_FILE_BYTES",
    "Direction",
    "check_fits",
    "decode_direction",
    "encode_direction",
    "read_direction",
    "write_direction",
]

MAX_DIRECTION_FILE_BYTES = 2_000_000

_LATENT_TENSORS: Mapping[str, Mapping[str, int]] = {
    "linear": {"step": 2},
    "absolute": {"step": 2, "axis": 1, "goal": 1},
}
"""Number of dimensions of each tensor, by kind."""
_GROUP = "style_offset"
_STYLE_TENSOR = re.compile(rf"b[1-9][0-9]{{0,4}}\.(conv[01]|torgb)/{_GROUP}")

Kind = Literal["linear", "absolute", "style"]
Dtype = Literal["F16", "F32"]


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction; arrays are float32 whatever the file stores.

    Attributes:
        kind: `"linear"`, `"absolute"` or `"style"`.
        name: What to call it; see `clean_name`.
        unit: What a strength of 1 is, in words.
        step: [num_ws, w_dim] of kind linear and absolute.
        axis: [w_dim] of kind absolute.
        goal: [w_dim] of kind absolute.
        style_offset: By layer name, [Cin], of kind style; layers that stay are absent.
        source: Where it came from.
        licence: SPDX name or a sentence.
        fingerprint: `fingerprint_synthesis` of the generator it was made for.
        table_hash: `LayerTable.hash` of that generator.
        dtype: How values are stored in a file.
    """

    kind: Kind
    name: str
    unit: str
    source: str
    licence: str
    fingerprint: str
    table_hash: str
    step: np.ndarray | None = None
    axis: np.ndarray | None = None
    goal: np.ndarray | None = None
    style_offset: dict[str, np.ndarray] = field(default_factory=dict)
    dtype: Dtype = "F32"


def _check_own(metadata: dict[str, Any], shapes: Shapes, what: str) -> None:
    """Check what holds without a layer table: which tensors are there, and their dimensions."""
    check_text_field(metadata, "unit", what)
    kind = metadata["kind"]
    wanted = _LATENT_TENSORS.get(kind, {})
    if kind == "style":
        wanted = dict.fromkeys((name for name in shapes if _STYLE_TENSOR.fullmatch(name)), 1)
    if not shapes or shapes.keys() != wanted.keys():
        raise MalformedFileError(
            f"{what}: not the tensors of a direction of kind {kind}",
            found=", ".join(sorted(shapes)[:4]) or "none",
            expected=", ".join(_LATENT_TENSORS.get(kind, [f"<layer>/{_GROUP}"])),
        )
    for name, dims in wanted.items():
        if len(shapes[name]) != dims:
            raise MalformedFileError(
                f"{what}: number of dimensions of {name}",
                found=str(len(shapes[name])),
                expected=str(dims),
            )


DIRECTION = SealedFormat(
    noun="direction",
    name="refinestyle-direction",
    version="1.0",
    kinds=("linear", "absolute", "style"),
    fields={"unit": str},
    check=_check_own,
)


def encode_direction(direction: Direction) -> bytes:
    """Return the file of a direction; equal directions give equal bytes.

    Raises:
        UsageError: A field breaks the rules of the format.
        NumericsError: A value is not finite, or too large for the dtype it is stored in.
    """
    arrays = as_stored(_tensors(direction), direction.dtype, direction.name)
    metadata = {
        "dtype": direction.dtype,
        "fingerprint": direction.fingerprint,
        "kind": direction.kind,
        "layer_table": direction.table_hash,
        "licence": direction.licence,
        "name": direction.name,
        "source": direction.source,
        "unit": direction.unit,
    }
    return seal(DIRECTION, metadata, arrays)


def write_direction(path: PathLike, direction: Direction) -> None:
    """Write a direction's file atomically.

    Raises:
        UsageError: See `encode_direction`.
        NumericsError: See `encode_direction`.
        ResourceError: See `write_atomic`.
    """
    write_atomic(path, encode_direction(direction))


def read_direction(
    path: PathLike,
    *,
    table: LayerTable | None,
    fingerprint: str | None,
    allow_foreign: bool = False,
) -> Direction:
    """Read a direction's file; arguments and errors as `decode_direction` and `read_file`."""
    data = read_file(path, max_bytes=MAX_DIRECTION_FILE_BYTES, what="direction")
    return decode_direction(
        data,
        table=table,
        fingerprint=fingerprint,
        allow_foreign=allow_foreign,
        name_hint=os.fspath(path),
    )


def decode_direction(
    data: bytes,
    *,
    table: LayerTable | None,
    fingerprint: str | None,
    allow_foreign: bool = False,
    name_hint: str = "",
) -> Direction:
    """Read a direction from its bytes.

    Args:
        data: A whole `.direction` file.
        table: The layer table it must fit, or None to check the file alone.
        fingerprint: The generator it must have been made for, or None for any.
        allow_foreign: Accept another generator's direction as long as its shapes fit `table`.
        name_hint: The file's name for messages.

    Raises:
        MalformedFileError: Damaged, changed, or against a rule of the format.
        IncompatibleError: A newer format, another generator, or shapes that do not fit `table`.
    """
    opened = unseal(data, DIRECTION, name_hint or "direction")
    metadata = opened.metadata
    check_origin(metadata, opened.what, table, fingerprint, allow_foreign)
    if table is not None:
        _check_table(opened.shapes, opened.what, table)
    arrays = {name: array.astype(np.float32) for name, array in opened.arrays().items()}
    return Direction(
        kind=metadata["kind"],
        name=metadata["name"],
        unit=metadata["unit"],
        source=metadata["source"],
        licence=metadata["licence"],
        fingerprint=metadata["fingerprint"],
        table_hash=metadata["layer_table"],
        step=arrays.pop("step", None),
        axis=arrays.pop("axis", None),
        goal=arrays.pop("goal", None),
        style_offset={name.rpartition("/")[0]: array for name, array in arrays.items()},
        dtype=metadata["dtype"],
    )


def check_fits(direction: Direction, table: LayerTable) -> None:
    """Check a direction's layers and shapes against the generator's.

    Raises:
        IncompatibleError: They are another generator's.
    """
    shapes = {name: np.shape(array) for name, array in _tensors(direction).items()}
    _check_table(shapes, f"the direction {direction.name!r}", table)


def _tensors(direction: Direction) -> dict[str, np.ndarray]:
    latent = {name: getattr(direction, name) for name in ("step", "axis", "goal")}
    tensors = {name: array for name, array in latent.items() if array is not None}
    return tensors | {f"{layer}/{_GROUP}": own for layer, own in direction.style_offset.items()}


def _check_table(shapes: Shapes, what: str, table: LayerTable) -> None:
    expected: dict[str, tuple[int, ...]] = {
        "step": (table.num_ws, table.w_dim),
        "axis": (table.w_dim,),
        "goal": (table.w_dim,),
        **{f"{layer.name}/{_GROUP}": (layer.in_channels,) for layer in table.layers},
    }
    for name, found in shapes.items():
        if name not in expected:
            raise IncompatibleError(f"{what}: the generator has no layer for {name}")
        if found != expected[name]:
            raise IncompatibleError(
                f"{what}: shape of {name}", found=str(found), expected=str(expected[name])
            )
