"""Token files forged byte by byte: each breaks one rule and is refused for that very reason.

The forger below is written from the format's description, not from the reader, and gives every file
a correct hash, so that a refusal is the rule's and not the hash's.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, RefineStyleError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import decode_token_set

TABLE = LayerTable.from_channels({4: 4, 8: 3}, 5)


class Forgery:
    """A sound file in parts that a test may bend before it is put together."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {
            "dtype": "F32",
            "fingerprint": "f0" * 32,
            "format": "refinestyle-tokens",
            "kind": "image",
            "layer_table": TABLE.hash,
            "licence": "CC0-1.0",
            "name": "a",
            "rank": 2,
            "sha256": "0" * 64,
            "source": "by hand",
            "version": "1.0",
        }
        self.tensors: dict[str, Any] = {
            "b4.conv1/P": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
            "b4.conv1/Q": {"dtype": "F32", "shape": [2, 4], "data_offsets": [32, 64]},
            "w_plus": {"dtype": "F32", "shape": [4, 5], "data_offsets": [64, 144]},
        }
        self.payload = np.arange(36, dtype="<f4").tobytes()
        self.entries: dict[str, Any] | None = None  # replaces the whole __metadata__ object
        self.edit_header: Callable[[bytes], bytes] = lambda header: header
        self.edit_file: Callable[[bytes], bytes] = lambda data: data
        self.edit_metadata: Callable[[str], str] = lambda text: text
        self.hashed = True

    def _header(self) -> bytes:
        text = json.dumps(self.metadata, sort_keys=True, separators=(",", ":"))
        entries = (
            {"refinestyle": self.edit_metadata(text)} if self.entries is None else self.entries
        )
        tree = {"__metadata__": entries, **self.tensors}
        header = json.dumps(tree, separators=(",", ":")).encode()
        header = self.edit_header(header)
        return header + b" " * (-len(header) % 8)

    def build(self) -> bytes:
        if self.hashed:
            self.metadata["sha256"] = hashlib.sha256(self._header() + self.payload).hexdigest()
        header = self._header()
        return self.edit_file(len(header).to_bytes(8, "little") + header + self.payload)


def decode(data: bytes) -> Any:
    return decode_token_set(data, table=TABLE, fingerprint="f0" * 32, name_hint="forged")


def test_the_forger_forges_well() -> None:
    read = decode(Forgery().build())
    np.testing.assert_array_equal(read.w_plus.ravel(), np.arange(16, 36))


def _set(part: str, **fields: Any) -> Callable[[Forgery], None]:
    """Change metadata, or the fields of one tensor."""

    def change(forgery: Forgery) -> None:
        target = forgery.metadata if part == "metadata" else forgery.tensors[part]
        target.update(fields)

    return change


def _drop(part: str, field: str) -> Callable[[Forgery], None]:
    def change(forgery: Forgery) -> None:
        (forgery.metadata if part == "metadata" else forgery.tensors[part]).pop(field)

    return change


def _header(old: bytes, new: bytes) -> Callable[[Forgery], None]:
    def change(forgery: Forgery) -> None:
        def edit(header: bytes) -> bytes:
            assert old in header
            return header.replace(old, new, 1)

        forgery.edit_header = edit

    return change


def _file(edit: Callable[[bytes], bytes]) -> Callable[[Forgery], None]:
    return lambda forgery: setattr(forgery, "edit_file", edit)


def _metadata_text(edit: Callable[[str], str]) -> Callable[[Forgery], None]:
    return lambda forgery: setattr(forgery, "edit_metadata", edit)


def _entries(value: Any) -> Callable[[Forgery], None]:
    return lambda forgery: setattr(forgery, "entries", value)


def _tensors(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Forgery], None]:
    return lambda forgery: edit(forgery.tensors)


def _swap_payload(forgery: Forgery) -> None:
    forgery.payload = forgery.payload[32:64] + forgery.payload[:32] + forgery.payload[64:]
    forgery.hashed = False
    forgery.metadata["sha256"] = "ab" * 32


def _value(number: float) -> Callable[[Forgery], None]:
    def change(forgery: Forgery) -> None:
        values = np.frombuffer(forgery.payload, "<f4").copy()
        values[-1] = number
        forgery.payload = values.tobytes()

    return change


def _rename(old: str, new: str) -> Callable[[Forgery], None]:
    def edit(tensors: dict[str, Any]) -> None:
        items = [(new if name == old else name, fields) for name, fields in tensors.items()]
        tensors.clear()
        tensors.update(items)

    return _tensors(edit)


def _many(tensors: dict[str, Any]) -> None:
    for i in range(5000):
        tensors[f"x{i:04}"] = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


P = "b4.conv1/P"
RULES: dict[str, tuple[Callable[[Forgery], None], str]] = {
    # container
    "empty": (_file(lambda d: b""), "before its header length"),
    "seven bytes": (_file(lambda d: d[:7]), "7 bytes, expected 8"),
    "header past end": (_file(lambda d: d[:100]), "ends inside its header"),
    "header 2^63": (
        _file(lambda d: (1 << 63).to_bytes(8, "little") + d[8:]),
        "header is too large",
    ),
    "header size 0": (_file(lambda d: bytes(8) + d[8:]), "does not start with {"),
    "leading space": (_header(b"{", b" {"), "does not start with {"),
    "header a list": (_header(b"{", b"["), "does not start with {"),
    "not utf-8": (_header(b"dtype", b"\xff"), "not UTF-8"),
    "not json": (_header(b":", b";"), "not valid JSON"),
    "nested": (_header(b"[2,4]", b"[" * 5000), "nesting deeper"),
    "tensor twice": (_header(b'"w_plus"', b'"b4.conv1/Q"'), "'b4.conv1/Q' twice"),
    "metadata twice": (_header(b'{"__metadata__"', b'{"__metadata__":{},"__metadata__"'), "twice"),
    "field twice": (_header(b'{"dtype"', b'{"dtype":"F32","dtype"'), "'dtype' twice"),
    "metadata key twice": (
        _header(b'{"refinestyle"', b'{"refinestyle":"","refinestyle"'),
        "'refinestyle' twice",
    ),
    "no metadata": (_header(b"__meta", b"__mega"), "no metadata"),
    "metadata a list": (_entries([1]), "metadata is not an object"),
    "metadata empty": (_entries({}), "metadata entries\nfound none"),
    "second entry": (_entries({"refinestyle": "{}", "format": "pt"}), "found format, refinestyle"),
    "entry no text": (_entries({"refinestyle": {}}), "metadata entry is not text"),
    "entry not json": (_entries({"refinestyle": "{"}), "forged: metadata: not valid JSON"),
    "entry surrogate": (_entries({"refinestyle": "\ud800"}), "half a surrogate pair"),
    "no tensors": (_tensors(dict.clear), "number of tensors\nfound 0"),
    "5,000 tensors": (_tensors(_many), "number of tensors\nfound 5003"),
    "trailing byte": (_file(lambda d: d + b"\0"), "bytes follow its data"),
    "one byte short": (_file(lambda d: d[:-1]), "ends inside its data"),
    "spaces inside": (_header(b":{", b": {"), "not in canonical form"),
    "escaped letter": (_header(b'"w_plus"', b'"w_\\u0070lus"'), "not in canonical form"),
    "more padding": (
        lambda f: setattr(f, "edit_header", lambda h: h + b" " * (8 - len(h) % 8 + 8)),
        "not in canonical form",
    ),
    "out of order": (_rename(P, "x"), "tensors are out of order"),
    # tensors
    "name empty": (_rename(P, ""), "a tensor name"),
    "name with dots": (_rename(P, "../../etc/x"), "found '../../etc/x'"),
    "name NUL": (_rename(P, "a\0"), "found 'a\\x00'"),
    "name bidi": (_rename(P, "a\u202e"), "u202e"),
    "name long": (_rename(P, "a" * 100_000), "a tensor name"),
    "fields a list": (_tensors(lambda t: t.update({P: []})), "P is not an object"),
    "field missing": (_drop(P, "shape"), "fields of b4.conv1/P"),
    "field unknown": (_set(P, note=1), "found data_offsets, dtype, note, shape"),
    "dtype F64": (_set(P, dtype="F64"), "found 'F64'"),
    "dtype BF16": (_set(P, dtype="BF16"), "found 'BF16'"),
    "dtype a number": (_set(P, dtype=32), "dtype of b4.conv1/P\nfound 32"),
    "dtype mixed": (
        lambda f: (_set("w_plus", dtype="F16", data_offsets=[64, 104])(f), _cut(f, 104)),
        "not of the stated dtype",
    ),
    "shape a number": (_set(P, shape=8), "shape of b4.conv1/P is not a list"),
    "shape empty": (_set(P, shape=[]), "number of sides of b4.conv1/P\nfound 0"),
    "shape 1,001 sides": (_set(P, shape=[1] * 1001), "found 1001"),
    "side zero": (_set(P, shape=[0, 4]), "found [0, 4]"),
    "side negative": (_set(P, shape=[-2, -4]), "found [-2, -4]"),
    "side huge": (_set(P, shape=[2**62, 4]), "sides of b4.conv1/P"),
    "side a float": (_set(P, shape=[2.0, 4]), "found [2.0, 4]"),
    "side a bool": (_set(P, shape=[True, 8]), "found [True, 8]"),
    "offsets one": (_set(P, data_offsets=[32]), "offsets of b4.conv1/P"),
    "offsets text": (_set(P, data_offsets=["0", "32"]), "offsets of b4.conv1/P are out of range"),
    "offset negative": (_set(P, data_offsets=[-32, 0]), "are out of range"),
    "offset 2^64": (_set("w_plus", data_offsets=[64, 2**64]), "w_plus are out of range"),
    "gap": (_set("w_plus", data_offsets=[68, 144]), "leaves a gap"),
    "overlap": (_set("b4.conv1/Q", data_offsets=[28, 60]), "overlaps the tensor before"),
    "size too small": (_set(P, data_offsets=[0, 28]), "byte range of b4.conv1/P\nfound 28"),
    "backwards": (_set("b4.conv1/Q", data_offsets=[32, 0]), "found -32 bytes"),
    # metadata
    "foreign format": (_set("metadata", format="pt"), "not a token set"),
    "no object": (_metadata_text(lambda t: "[]"), "found no object"),
    "no version": (_drop("metadata", "version"), "format version"),
    "version text": (_set("metadata", version="one"), "found 'one'"),
    "field dropped": (_drop("metadata", "licence"), "missing or unknown\nfound licence"),
    "field added": (_set("metadata", url="http://x"), "missing or unknown\nfound url"),
    "rank text": (_set("metadata", rank="2"), "type of metadata field rank"),
    "rank true": (_set("metadata", rank=True), "found bool"),
    "rank wrong": (_set("metadata", rank=1), "stated rank\nfound 1"),
    "rank negative": (_set("metadata", rank=-1), "out of range"),
    "fingerprint short": (_set("metadata", fingerprint="f0"), "fingerprint is not"),
    "fingerprint upper": (_set("metadata", fingerprint="F0" * 32), "fingerprint is not"),
    "table not hex": (_set("metadata", layer_table="g" * 64), "layer_table is not"),
    "kind": (_set("metadata", kind="style"), "its kind\nfound style"),
    "stated dtype": (_set("metadata", dtype="F8"), "stated dtype\nfound F8"),
    "dtype disagrees": (_set("metadata", dtype="F16"), "found F32, expected F16"),
    "name path": (_set("metadata", name="../x"), "its name"),
    "name ansi": (_set("metadata", name="\x1b[2J"), "its name"),
    "licence ansi": (_set("metadata", licence="\x1b[2J"), "licence\nfound control"),
    "source long": (_set("metadata", source="x" * 4097), "source\nfound 4097"),
    "not canonical": (_metadata_text(lambda t: t.replace(":", ": ", 1)), "metadata is not in"),
    "hash": (lambda f: setattr(f, "hashed", False), "does not match its own SHA-256"),
    "payload swapped": (_swap_payload, "does not match its own SHA-256"),
    # groups and values
    "unknown group": (_rename("w_plus", "w_minus"), "'w_minus' is not a tensor"),
    "P of torgb": (
        lambda f: (_rename(P, "b4.torgb/P")(f), _rename("b4.conv1/Q", "b4.torgb/Q")(f)),
        "'b4.torgb/P' is not a tensor",
    ),
    "P alone": (_rename("b4.conv1/Q", "b4.conv1/modulation"), "conv1 has only one of P and Q"),
    "Q elsewhere": (_rename("b4.conv1/Q", "b8.conv0/Q"), "only one of P and Q"),
    "ranks differ": (
        lambda f: (
            _set(P, shape=[1, 4], data_offsets=[0, 16])(f),
            _set("b4.conv1/Q", shape=[3, 4], data_offsets=[16, 64])(f),
        ),
        "differ in rank",
    ),
    "w_plus of a domain": (_set("metadata", kind="domain"), "not of kind image"),
    "w_plus flat": (_set("w_plus", shape=[20]), "number of dimensions of w_plus"),
    "NaN": (_value(np.nan), "found nan at [3, 4]"),
    "infinity": (_value(np.inf), "found inf at [3, 4]"),
    "huge": (_value(1e30), "at [3, 4]"),
}


def _cut(forgery: Forgery, size: int) -> None:
    forgery.payload = forgery.payload[:size]


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    bend, reason = RULES[rule]
    forgery = Forgery()
    bend(forgery)
    with pytest.raises(MalformedFileError) as caught:
        decode(forgery.build())
    assert reason in str(caught.value)
    assert str(caught.value).startswith("forged: ")
    assert len(str(caught.value)) < 1000


def test_there_are_many_rules_and_reasons() -> None:
    assert len(RULES) >= 80
    reasons = set()
    for bend, _ in RULES.values():
        forgery = Forgery()
        bend(forgery)
        try:
            decode(forgery.build())
        except RefineStyleError as error:
            reasons.add(error.what)
    assert len(reasons) >= 45


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (_set("metadata", version="2.0"), "found 2.0, expected 1.0"),
        (_set("metadata", version="0.9"), "found 0.9, expected 1.0"),
        (
            lambda f: (_set("metadata", version="2.0")(f), _set("metadata", new=[])(f)),
            "found 2.0, expected 1.0",
        ),
        (_set("metadata", fingerprint="0f" * 32), "made for another generator"),
        (_set("metadata", layer_table="0f" * 32), "made for another generator"),
        (_rename("b4.conv1/P", "b16.conv0/P"), "no layer"),
        (_set("w_plus", shape=[5, 4]), "shape of w_plus"),
    ],
)
def test_incompatible(bend: Callable[[Forgery], None], reason: str) -> None:
    forgery = Forgery()
    bend(forgery)
    if "b16.conv0/P" in forgery.tensors:
        _rename("b4.conv1/Q", "b16.conv0/Q")(forgery)
    with pytest.raises(IncompatibleError, match=reason):
        decode(forgery.build())


def test_a_later_minor_version_with_known_fields_is_read() -> None:
    forgery = Forgery()
    forgery.metadata["version"] = "1.7"
    assert decode(forgery.build()).name == "a"
