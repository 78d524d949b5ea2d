"""Calibration files: what goes in comes out, and anything else is refused."""

import json

import pytest

from rs_runtime.contracts.calibration import (
    Calibration,
    LayerCalibration,
    decode_calibration,
    encode_calibration,
)
from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.layers import LayerTable

TABLE = LayerTable.from_channels({4: 4, 8: 3}, w_dim=2)
FINGERPRINT = "5" * 64


def sound() -> Calibration:
    layers = {
        layer.name: LayerCalibration(0.5 + layer.index / 4, 0.9 - layer.index / 10)
        for layer in TABLE.layers
    }
    return Calibration("e4e", "a" * 64, FINGERPRINT, 500, layers)


def decode(data: bytes, fingerprint: str = FINGERPRINT) -> Calibration:
    return decode_calibration(data, table=TABLE, fingerprint=fingerprint, name_hint="c.json")


def test_what_is_written_is_read():
    data = encode_calibration(sound())
    assert decode(data) == sound()
    assert encode_calibration(decode(data)) == data


def changed(path: str, field: object) -> bytes:
    """The sound file with another value at a path like "layers/b4.conv1/alpha"; None removes it."""
    value = json.loads(encode_calibration(sound()))
    *above, name = path.split("/")
    place = value
    for key in above:
        place = place[key]
    place.pop(name, None)
    if field is not None:
        place[name] = field
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"format": "refinestyle-calibration"}',
        changed("format", "other"),
        changed("pictures", 1),
        changed("pictures", None),
        changed("surplus", 1),
        changed("encoder", "e4e"),
        changed("encoder/sha256", "a"),
        changed("layers", []),
        changed("layers/b4.conv1/alpha", 0),
        changed("layers/b4.conv1/alpha", -1.0),
        changed("layers/b4.conv1/alpha", 1e9),
        changed("layers/b4.conv1/alpha", "1"),
        changed("layers/b4.conv1/alpha", True),
        changed("layers/b4.conv1/alpha", float("nan")),
        changed("layers/b4.conv1/correlation", 1.5),
        changed("layers/b4.conv1/more", 1),
    ],
)
def test_damaged_files_are_refused(data):
    with pytest.raises(MalformedFileError, match=r"c\.json"):
        decode(data)


def test_files_for_others_are_refused():
    with pytest.raises(IncompatibleError, match="another generator"):
        decode(encode_calibration(sound()), fingerprint="6" * 64)
    with pytest.raises(IncompatibleError, match="another generator"):
        decode(changed("layers/b4.conv1", None))
    with pytest.raises(IncompatibleError, match="another version"):
        decode(changed("version", 2))
