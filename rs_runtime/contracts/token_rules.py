"""The rules a token set obeys: its metadata fields, its groups, and how it fits a layer table.

Checked when a set is written and when it is read; a set that breaks one is never on disk.
"""

import re
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.sealed_file import SealedFormat, Shapes

MAX_RANK = 4096

GROUPS = ("P", "Q", "style_offset", "modulation")
_TENSOR_NAME = re.compile(
    r"(b[1-9][0-9]{0,4}\.conv[01])/(P|Q|style_offset|modulation)"
    r"|(b[1-9][0-9]{0,4}\.torgb)/(style_offset)"
)


def check_groups(metadata: dict[str, Any], shapes: Shapes, what: str) -> None:
    """Check what holds without a layer table: known names, whole pairs, dimensions, rank."""
    if not 0 <= metadata["rank"] <= MAX_RANK:
        raise MalformedFileError(
            f"{what}: its rank is out of range",
            found=str(metadata["rank"])[:40],
            expected=f"0 to {MAX_RANK}",
        )
    rank = 0
    if not shapes:
        raise MalformedFileError(f"{what}: it holds no tokens")
    for name, shape in shapes.items():
        match = _TENSOR_NAME.fullmatch(name)
        if match is None and name != "w_plus":
            raise MalformedFileError(f"{what}: {name!r} is not a tensor of a token set")
        group = (match[2] or match[4]) if match else name
        dims = 1 if group in ("style_offset", "modulation") else 2
        if len(shape) != dims:
            raise MalformedFileError(
                f"{what}: number of dimensions of {name}", found=str(len(shape)), expected=str(dims)
            )
        if group in ("P", "Q"):
            layer = name.rpartition("/")[0]
            other = shapes.get(f"{layer}/{'Q' if group == 'P' else 'P'}")
            if other is None:
                raise MalformedFileError(f"{what}: {layer} has only one of P and Q", found=group)
            if len(other) == 2 and other[0] != shape[0]:
                raise MalformedFileError(
                    f"{what}: P and Q of {layer} differ in rank", found=f"{shape[0]} and {other[0]}"
                )
            rank = max(rank, shape[0])
    if "w_plus" in shapes and metadata["kind"] != "image":
        raise MalformedFileError(f"{what}: w_plus in a set that is not of kind image")
    if rank != metadata["rank"]:
        raise MalformedFileError(
            f"{what}: its stated rank", found=str(metadata["rank"]), expected=f"{rank}, as in P"
        )


TOKENS = SealedFormat(
    noun="token set",
    name="refinestyle-tokens",
    version="1.0",
    kinds=("image", "domain"),
    fields={"rank": int},
    check=check_groups,
)


def check_table(shapes: Shapes, what: str, table: LayerTable) -> None:
    """Check layer names, shapes and completeness against the generator's layers."""
    present: dict[str, set[str]] = {group: set() for group in (*GROUPS, "w_plus")}
    for name, found in shapes.items():
        layer_name, _, group = name.rpartition("/")
        if group == "w_plus":
            shape = (table.num_ws, table.w_dim)
        else:
            layer = table.by_name.get(layer_name)
            if layer is None:
                raise IncompatibleError(f"{what}: the generator has no layer {layer_name}")
            width = layer.out_channels if group == "P" else layer.in_channels
            shape = (found[0], width) if group in ("P", "Q") else (width,)
        if found != shape:
            raise IncompatibleError(
                f"{what}: shape of {name}", found=str(found), expected=str(shape)
            )
        present[group].add(layer_name)
    convs = {layer.name for layer in table.convs}
    torgbs = {layer.name for layer in table.torgbs}
    for group, allowed in (
        ("style_offset", (set(), convs, convs | torgbs)),
        ("modulation", (set(), convs)),
    ):
        if present[group] not in allowed:
            missing = sorted((convs | torgbs if present[group] - convs else convs) - present[group])
            raise MalformedFileError(
                f"{what}: its {group} group is incomplete",
                found=f"none for {', '.join(missing[:4])}",
            )
