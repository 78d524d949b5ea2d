"""Canonical JSON is one writing per value; the reader refuses what JSON leaves open."""

import time

import pytest

from rs_runtime.contracts.errors import MalformedFileError
from rs_runtime.contracts.strict_json import MAX_DEPTH, canonical_json, parse_json


def test_canonical() -> None:
    assert canonical_json({"b": [1, 0.1, None], "a": "é"}) == b'{"a":"\\u00e9","b":[1,0.1,null]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


def test_round_trip() -> None:
    value = {"a": [1, -2.5, 'x"[{', True, None], "b": {"c": "😀"}}
    assert parse_json(canonical_json(value), "x") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a":1}x', "Extra data"),
        (b'{"a":1,"a":1}', "'a' twice"),
        (b'[{"b":{"c":1,"d":2,"c":3}}]', "'c' twice"),
        (b"[NaN]", "constant NaN"),
        (b"[Infinity]", "constant Infinity"),
        (b"[-Infinity]", "constant -Infinity"),
        (b"[1e999]", "too large"),
        (b"[" + b"1" * 400 + b"]", "too large"),
        (b"[" + b"1" * 5000 + b"]", "too large"),
        (b'{"\\ud83d":1}', "half a surrogate pair"),
        (b'["\\ude00\\ud83d"]', "half a surrogate pair"),
        (b'"\xff"', "not UTF-8"),
        (b'"\n"', "control character"),
        (b"[" * 200_000, "nesting"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nesting"),
    ],
)
def test_refuses(text: bytes, reason: str) -> None:
    with pytest.raises(MalformedFileError) as caught:
        parse_json(text, "file")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("file: not valid JSON")


def test_whole_surrogate_pairs_are_read() -> None:
    assert parse_json(b'["\\ud83d\\ude00", "\\\\ud83d"]', "x") == ["\U0001f600", "\\ud83d"]


def test_brackets_in_strings_are_not_nesting() -> None:
    assert parse_json(b'["' + b"[{" * 100 + b'","\\"[["]', "x") == ["[{" * 100, '"[[']
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_json(deepest, "x") is not None


def test_many_keys_with_one_duplicate_are_refused_quickly() -> None:
    keys = ",".join(f'"{i}":0' for i in range(100_000))
    start = time.process_time()
    with pytest.raises(MalformedFileError, match="not valid JSON"):
        parse_json(f'{{{keys},"99999":0}}'.encode(), "x")
    assert time.process_time() - start < 2
