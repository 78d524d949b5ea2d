"""Two hundred thousand damaged token files: none is taken for sound, none ends in a stray error."""

import random
from collections import Counter

import numpy as np
import pytest

from rs_runtime.contracts.errors import RefineStyleError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet, decode_token_set, encode_token_set

TABLE = LayerTable.from_channels({4: 2}, 3)
FINGERPRINT = "0123456789abcdef" * 4
TEXT = b'"{}[],:\\0123456789eE+-. ntfalsu/_'


def seeds() -> list[bytes]:
    """Small sound files, one per group of tokens: small, so that mutants hit every part."""
    ones = np.linspace(-1, 1, 2)
    common = {
        "source": "s",
        "licence": "CC0",
        "fingerprint": FINGERPRINT,
        "table_hash": TABLE.hash,
    }
    empty: dict[str, dict[str, np.ndarray]] = {
        "P": {},
        "Q": {},
        "style_offset": {},
        "modulation": {},
    }
    layer = "b4.conv1"
    groups = [
        ({"modulation": {layer: ones}}, "domain", "F16", None),
        ({"P": {layer: ones[None]}, "Q": {layer: ones[None]}}, "domain", "F32", None),
        ({"style_offset": {layer: ones, "b4.torgb": ones}}, "image", "F16", ones.repeat(3)),
    ]
    return [
        encode_token_set(
            TokenSet(
                kind=kind,
                name="a",
                w_plus=None if w_plus is None else w_plus.reshape(2, 3),
                dtype=dtype,
                **(empty | group),
                **common,
            )
        )
        for group, kind, dtype, w_plus in groups
    ]


def with_header(data: bytes, header: bytes) -> bytes:
    """The same data part under another header, with the right length."""
    old = 8 + int.from_bytes(data[:8], "little")
    return len(header).to_bytes(8, "little") + header + data[old:]


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Damage a file in one of twelve ways."""
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size]
    at = rng.randrange(len(data))
    inside = rng.randrange(size)
    match rng.randrange(12):
        case 0:  # one bit
            changed = bytearray(data)
            changed[at] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case 1:  # a few bytes
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 9)):
                changed[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(changed)
        case 2:  # a byte more
            return data[:at] + bytes([rng.randrange(256)]) + data[at:]
        case 3:  # bytes less
            return data[:at] + data[at + rng.randrange(1, 9) :]
        case 4:  # cut, or longer
            return data[:at] if rng.random() < 0.5 else data + data[-rng.randrange(1, 9) :]
        case 5:  # a character of the header, valid or nearly valid JSON
            character = bytes([rng.choice(TEXT)])
            return with_header(data, header[:inside] + character + header[inside + 1 :])
        case 6:  # a character more in the header
            return with_header(data, header[:inside] + bytes([rng.choice(TEXT)]) + header[inside:])
        case 7:  # a piece of the header twice: duplicate keys, repeated fields
            end = min(size, inside + rng.randrange(1, 60))
            return with_header(data, header[:end] + header[inside:end] + header[end:])
        case 8:  # a piece of the header gone
            return with_header(data, header[:inside] + header[inside + rng.randrange(1, 60) :])
        case 9:  # two pieces of the data swapped, or a piece of the header moved
            low, high = sorted((inside, rng.randrange(size)))
            return with_header(data, header[low:high] + header[:low] + header[high:])
        case 10:  # the data part of the same file turned round, tensors swapped
            turn = rng.randrange(1, len(data) - 8 - size)
            return data[: 8 + size] + data[8 + size + turn :] + data[8 + size : 8 + size + turn]
        case _:  # one file's head on another's tail
            return data[:at] + other[rng.randrange(len(other)) :]


def run(count: int) -> Counter[str]:
    sound = seeds()
    rng = random.Random(20_241_006)
    reasons: Counter[str] = Counter()
    for i in range(count):
        data = sound[i % 3]
        changed = mutate(data, sound[rng.randrange(3)], rng)
        if i % 4 == 3:  # a second wound on top of the first
            changed = mutate(data, changed or data, rng)
        if changed in sound:
            reasons["unchanged"] += 1
            continue
        try:
            decode_token_set(changed, table=TABLE, fingerprint=FINGERPRINT, name_hint="x")
        except RefineStyleError as error:
            reasons[error.what] += 1
        else:
            reasons["ACCEPTED"] += 1
    return reasons


def check(count: int) -> None:
    for data in seeds():
        assert decode_token_set(data, table=TABLE, fingerprint=FINGERPRINT).name == "a"
    reasons = run(count)
    assert reasons["ACCEPTED"] == 0
    assert reasons.total() - reasons["unchanged"] >= 0.98 * count
    # The mutants must reach deep: every layer of checks has refused some of them.
    for deep in (
        "SHA-256",
        "canonical form",
        "not valid JSON",
        "its data",
        "fields of",
        "dtype of",
    ):
        assert sum(n for what, n in reasons.items() if deep in what) > count / 2000, deep


def test_mutants() -> None:
    check(205_000)  # at least 200,000 of them changed


@pytest.mark.nightly
def test_many_more_mutants() -> None:
    check(3_000_000)
