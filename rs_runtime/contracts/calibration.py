"""The calibration of an encoder: its styles beside the mapping network's, layer by layer.

Domains are learned on styles of mapped latents. Where these are alpha times an encoder's styles of
the same pictures, a domain's change of the kernel is divided by alpha. The numbers lie in the file
`calibration.json` of a bundle, which readers may do without.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.fields import (
    check_hash,
    check_identifier,
    check_integer,
    check_mapping,
    check_object,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.strict_json import canonical_json, parse_json

FORMAT = "refinestyle-calibration"
VERSION = 1
MAX_CALIBRATION_BYTES = 1_000_000
MIN_ALPHA, MAX_ALPHA = 0.01, 100.0
_FIELDS = ("format", "version", "encoder", "generator_fingerprint", "pictures", "layers")


@dataclass(frozen=True)
class LayerCalibration:
    """One layer's mapped styles over the encoder's.

    Attributes:
        alpha: The factor between them, `MIN_ALPHA` to `MAX_ALPHA`.
        correlation: Of their deviations from the channels' means, -1 to 1.
    """

    alpha: float
    correlation: float


@dataclass(frozen=True)
class Calibration:
    """What a calibration file says.

    Attributes:
        encoder_kind: Kind of the encoder's checkpoint.
        encoder_sha256: SHA-256 of that file.
        generator_fingerprint: Of the generator whose styles they are.
        pictures: How many pictures were inverted.
        layers: By name, every layer of the generator.
    """

    encoder_kind: str
    encoder_sha256: str
    generator_fingerprint: str
    pictures: int
    layers: Mapping[str, LayerCalibration]


def calibration_path(checkpoint: Path) -> Path:
    """Where the calibration of an encoder's checkpoint lies: beside it."""
    return checkpoint.with_name(f"{checkpoint.stem}.calibration.json")


def encode_calibration(calibration: Calibration) -> bytes:
    """The bytes of a calibration file, canonical JSON."""
    value = {
        "format": FORMAT,
        "version": VERSION,
        "encoder": {"kind": calibration.encoder_kind, "sha256": calibration.encoder_sha256},
        "generator_fingerprint": calibration.generator_fingerprint,
        "pictures": calibration.pictures,
        "layers": {name: asdict(own) for name, own in calibration.layers.items()},
    }
    return canonical_json(value)


def decode_calibration(
    data: bytes, *, table: LayerTable, fingerprint: str, name_hint: str
) -> Calibration:
    """Read a calibration file.

    Args:
        data: The whole file.
        table: Layer table of the generator that it is for.
        fingerprint: Of that generator.
        name_hint: The file's name for messages.

    Raises:
        MalformedFileError: Not a calibration, or a damaged one.
        IncompatibleError: Of another version, or for another generator.
    """
    value = check_mapping(parse_json(data, name_hint), name_hint)
    if value.get("format") != FORMAT:
        raise MalformedFileError(f"{name_hint}: not a calibration", expected=FORMAT)
    version = check_integer(value.get("version"), f"{name_hint}: version", 1, 10**6)
    if version != VERSION:
        raise IncompatibleError(
            f"{name_hint}: a calibration of another version",
            found=str(version),
            expected=str(VERSION),
        )
    check_object(value, name_hint, _FIELDS)
    encoder = check_object(value["encoder"], f"{name_hint}: encoder", ("kind", "sha256"))
    rows = check_mapping(value["layers"], f"{name_hint}: layers")
    calibration = Calibration(
        encoder_kind=check_identifier(encoder["kind"], f"{name_hint}: encoder.kind"),
        encoder_sha256=check_hash(encoder["sha256"], f"{name_hint}: encoder.sha256"),
        generator_fingerprint=check_hash(
            value["generator_fingerprint"], f"{name_hint}: generator_fingerprint"
        ),
        pictures=check_integer(value["pictures"], f"{name_hint}: pictures", 2, 10**9),
        layers={name: _layer(row, f"{name_hint}: layers.{name}") for name, row in rows.items()},
    )
    if calibration.generator_fingerprint != fingerprint or set(rows) != set(table.by_name):
        raise IncompatibleError(
            f"{name_hint}: a calibration for another generator",
            found=f"{calibration.generator_fingerprint[:16]}…, {len(rows)} layers",
            expected=f"{fingerprint[:16]}…, {len(table.layers)} layers",
        )
    return calibration


def _layer(value: Any, where: str) -> LayerCalibration:
    row = check_object(value, where, ("alpha", "correlation"))
    return LayerCalibration(
        alpha=_number(row["alpha"], f"{where}.alpha", MIN_ALPHA, MAX_ALPHA),
        correlation=_number(row["correlation"], f"{where}.correlation", -1.0, 1.0),
    )


def _number(value: Any, where: str, low: float, high: float) -> float:
    if type(value) not in (int, float) or not (math.isfinite(value) and low <= value <= high):
        raise MalformedFileError(
            f"{where}: out of range", found=repr(value)[:40], expected=f"{low:g} to {high:g}"
        )
    return float(value)
