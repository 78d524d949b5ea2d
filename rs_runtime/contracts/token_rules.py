"""The rules a token set obeys: its metadata fields, its groups, and how it fits a layer table.

Checked when a set is written and when it is read; a set that breaks one is never on disk.
"""

import re
from collections.abc import Mapping
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tensor_file import ITEM_BYTES

FORMAT = "refinestyle-tokens"
VERSION = "1.0"
MAX_RANK = 4096
MAX_TEXT = 4096
MAX_NAME = 64

GROUPS = ("P", "Q", "style_offset", "modulation")
_TENSOR_NAME = re.compile(
    r"(b[1-9][0-9]{0,4}\.conv[01])/(P|Q|style_offset|modulation)"
    r"|(b[1-9][0-9]{0,4}\.torgb)/(style_offset)"
)
_HASH = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}")
_METADATA: Mapping[str, type] = {
    "dtype": str,
    "fingerprint": str,
    "format": str,
    "kind": str,
    "layer_table": str,
    "licence": str,
    "name": str,
    "rank": int,
    "sha256": str,
    "source": str,
    "version": str,
}


def clean_name(text: str) -> str:
    """Return the nearest valid name of a token set.

    Args:
        text: Anything, for example a file's stem.

    Returns:
        1 to 64 characters: letters and digits of any script, space, `_ . + -`; everything else
        became `_`; no dot or space at either end. It is still a label, never a path.
    """
    kept = "".join(ch if ch.isalnum() or ch in " _.+-" else "_" for ch in text)
    return kept[:MAX_NAME].strip(" .") or "unnamed"


def check_metadata(metadata: Any, what: str) -> None:
    """Check every metadata field by itself; the version first, it decides what the others are."""
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = str(metadata.get("format"))[:40] if isinstance(metadata, dict) else "no object"
        raise MalformedFileError(f"{what}: not a token set", found=found, expected=FORMAT)
    version = metadata.get("version")
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if not match:
        raise MalformedFileError(f"{what}: its format version", found=repr(version)[:40])
    if match[1] != VERSION.split(".")[0]:
        raise IncompatibleError(
            f"{what}: a token set of another format version",
            found=version,
            expected=VERSION,
            hint="update this program or export the token set again",
        )
    if metadata.keys() != _METADATA.keys():
        wrong = ", ".join(sorted(metadata.keys() ^ _METADATA.keys())[:8])
        raise MalformedFileError(f"{what}: metadata fields missing or unknown", found=wrong)
    for field, kind in _METADATA.items():
        if type(metadata[field]) is not kind:
            raise MalformedFileError(
                f"{what}: type of metadata field {field}",
                found=type(metadata[field]).__name__,
                expected=kind.__name__,
            )
    for field in ("fingerprint", "layer_table", "sha256"):
        if not _HASH.fullmatch(metadata[field]):
            raise MalformedFileError(
                f"{what}: metadata field {field} is not a SHA-256",
                found=metadata[field][:80],
                expected="64 hexadecimal digits",
            )
    for field in ("licence", "source"):
        text = metadata[field]
        if len(text) > MAX_TEXT or not text.isprintable():
            raise MalformedFileError(
                f"{what}: metadata field {field}",
                found=f"{len(text)} characters" if text.isprintable() else "control characters",
                expected=f"at most {MAX_TEXT} printable characters",
            )
    _check_choices(metadata, what)


def _check_choices(metadata: dict[str, Any], what: str) -> None:
    if metadata["kind"] not in ("image", "domain"):
        raise MalformedFileError(
            f"{what}: its kind", found=metadata["kind"][:40], expected="image or domain"
        )
    if metadata["dtype"] not in ITEM_BYTES:
        raise MalformedFileError(
            f"{what}: its stated dtype", found=metadata["dtype"][:40], expected="F16 or F32"
        )
    if not 0 <= metadata["rank"] <= MAX_RANK:
        raise MalformedFileError(
            f"{what}: its rank is out of range",
            found=str(metadata["rank"])[:40],
            expected=f"0 to {MAX_RANK}",
        )
    name = metadata["name"]
    if name != clean_name(name):
        raise MalformedFileError(
            f"{what}: its name", found=name[:80], expected=f"such as {clean_name(name)!r}"
        )


def check_groups(
    shapes: Mapping[str, tuple[int, ...]], metadata: dict[str, Any], what: str
) -> None:
    """Check what holds without a layer table: known names, whole pairs, dimensions, rank."""
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


def check_origin(
    metadata: dict[str, Any],
    what: str,
    table: LayerTable | None,
    fingerprint: str | None,
    allow_foreign: bool,
) -> None:
    """Refuse another generator's set, unless it is wanted."""
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


def check_table(shapes: Mapping[str, tuple[int, ...]], what: str, table: LayerTable) -> None:
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
