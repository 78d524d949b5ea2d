"""Directions: what comes back from a file, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from rs_runtime.contracts.directions import (
    DIRECTION,
    MAX_DIRECTION_FILE_BYTES,
    Direction,
    decode_direction,
    encode_direction,
    read_direction,
    write_direction,
)
from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    NumericsError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.sealed_file import as_stored, seal
from rs_runtime.contracts.tokens import decode_token_set

TABLE = LayerTable.from_channels({4: 4, 8: 3}, w_dim=5)
FINGERPRINT = "f0" * 32
STEP = np.arange(20, dtype=np.float32).reshape(4, 5)
ROW = np.arange(5, dtype=np.float32)
ARRAYS = {
    "linear": {"step": STEP},
    "absolute": {"step": STEP, "axis": ROW, "goal": ROW + 1},
    "style": {"style_offset": {"b4.torgb": np.ones(4, "f4"), "b8.conv1": np.ones(3, "f4")}},
}


def make(like: str, **changes: object) -> Direction:
    fields = {
        "kind": like,
        "name": "smile",
        "unit": "one standard deviation",
        "source": "published",
        "licence": "CC0-1.0",
        "fingerprint": FINGERPRINT,
        "table_hash": TABLE.hash,
        **ARRAYS[like],
    }
    return Direction(**fields | changes)


def decode(data: bytes, **changes: object) -> Direction:
    fields = {"table": TABLE, "fingerprint": FINGERPRINT, "name_hint": "a.direction"}
    return decode_direction(data, **fields | changes)


@pytest.mark.parametrize("kind", DIRECTION.kinds)
@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_what_is_written_is_read(kind, dtype, tmp_path):
    original = make(kind, dtype=dtype)
    write_direction(tmp_path / "a.direction", original)
    read = read_direction(tmp_path / "a.direction", table=TABLE, fingerprint=FINGERPRINT)
    for name in ("kind", "name", "unit", "source", "licence", "fingerprint", "table_hash", "dtype"):
        assert getattr(read, name) == getattr(original, name)
    for name in ("step", "axis", "goal"):
        np.testing.assert_array_equal(getattr(read, name), getattr(original, name))
    assert read.style_offset.keys() == original.style_offset.keys()
    for layer, offset in original.style_offset.items():
        np.testing.assert_array_equal(read.style_offset[layer], offset)
    assert encode_direction(read) == encode_direction(original)


@pytest.mark.parametrize(
    ("kind", "changes", "error", "reason"),
    [
        ("linear", {"kind": "cubic"}, UsageError, "kind"),
        ("linear", {"kind": "absolute"}, UsageError, "not the tensors"),
        ("linear", {"kind": "style"}, UsageError, "not the tensors"),
        ("absolute", {"kind": "linear"}, UsageError, "not the tensors"),
        ("absolute", {"goal": None}, UsageError, "not the tensors"),
        ("style", {"style_offset": {}}, UsageError, "not the tensors"),
        ("style", {"style_offset": {"../x": ROW}}, UsageError, "not the tensors"),
        ("style", {"step": STEP}, UsageError, "not the tensors"),
        ("linear", {"step": ROW}, UsageError, "dimensions of step"),
        ("linear", {"unit": "a\nb"}, UsageError, "unit"),
        ("linear", {"unit": "a" * 5000}, UsageError, "unit"),
        ("linear", {"name": "../x"}, UsageError, "its name"),
        ("linear", {"fingerprint": "f0"}, UsageError, "SHA-256"),
        ("linear", {"step": STEP + np.nan}, NumericsError, "not finite"),
        ("linear", {"step": STEP.astype(int)}, UsageError, "not an array of floats"),
        ("linear", {"step": STEP + 7e4, "dtype": "F16"}, NumericsError, "fit F16"),
    ],
)
def test_writing_refuses(kind, changes, error, reason):
    with pytest.raises(error, match=reason):
        encode_direction(make(kind, **changes))


def sealed(kind: str, arrays: dict[str, np.ndarray], **changes: object) -> bytes:
    """A sound container of anything, past the checks of a writer."""
    lax = replace(DIRECTION, check=lambda *_: None)
    metadata = {
        "dtype": "F32",
        "fingerprint": FINGERPRINT,
        "kind": kind,
        "layer_table": TABLE.hash,
        "licence": "",
        "name": "a",
        "source": "",
        "unit": "",
    }
    return seal(lax, metadata | changes, as_stored(arrays, "F32", "a"))


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (sealed("linear", {"step": STEP, "more": ROW}), MalformedFileError, "not the tensors"),
        (sealed("linear", {"b4.conv1/style_offset": ROW}), MalformedFileError, "not the tensors"),
        (sealed("style", {"b4.conv2/style_offset": ROW}), MalformedFileError, "not the tensors"),
        (sealed("absolute", {"step": STEP, "axis": ROW}), MalformedFileError, "not the tensors"),
        (sealed("linear", {"step": ROW}), MalformedFileError, "dimensions"),
        (sealed("linear", {"step": STEP}, unit="\x1b[2J"), MalformedFileError, "unit"),
        (sealed("linear", {"step": STEP[:3]}), IncompatibleError, "shape of step"),
        (sealed("style", {"b16.conv1/style_offset": ROW}), IncompatibleError, "no layer"),
        (sealed("style", {"b4.conv1/style_offset": ROW}), IncompatibleError, "shape of b4.conv1"),
    ],
)
def test_reading_refuses(data, error, reason):
    with pytest.raises(error, match=reason):
        decode(data)


def test_another_generator_is_refused_unless_wanted():
    data = encode_direction(make("linear"))
    with pytest.raises(IncompatibleError, match="another generator"):
        decode(data, fingerprint="0" * 64)
    with pytest.raises(IncompatibleError, match="another generator"):
        decode(encode_direction(make("linear", table_hash="0" * 64)))
    assert decode(data, fingerprint="0" * 64, allow_foreign=True).name == "smile"
    other = LayerTable.from_channels({4: 4}, 5)
    with pytest.raises(IncompatibleError, match="shape of step"):
        decode(data, table=other, allow_foreign=True)


def test_formats_are_told_apart_and_sizes_limited(tmp_path):
    data = encode_direction(make("linear"))
    with pytest.raises(MalformedFileError, match="not a token set"):
        decode_token_set(data, table=None, fingerprint=None)
    path = tmp_path / "large.direction"
    path.write_bytes(bytes(MAX_DIRECTION_FILE_BYTES + 1))
    with pytest.raises(UnsafeFileError):
        read_direction(path, table=None, fingerprint=None)


@pytest.mark.parametrize("kind", DIRECTION.kinds)
def test_no_changed_or_shortened_file_is_taken(kind):
    data = encode_direction(make(kind))
    rng = np.random.default_rng(3)
    mutants = [data[:end] for end in rng.integers(0, len(data), 40)]
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        mutants.append(bytes(changed))
    for mutant in mutants:
        with pytest.raises(RefineStyleError) as caught:
            decode(mutant)
        assert caught.value.exit_code in (3, 4, 5)
