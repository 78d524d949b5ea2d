"""Token sets: what is written is read back, every rule has its refusal, foreign sets stay out."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from rs_runtime.contracts import sealed_file, tokens
from rs_runtime.contracts.errors import (
    IncompatibleError,
    InternalError,
    MalformedFileError,
    NumericsError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import (
    TokenSet,
    clean_name,
    decode_token_set,
    encode_token_set,
    fingerprint_synthesis,
    read_token_set,
    write_token_set,
)

from_set = Callable[..., TokenSet]
GROUPS = ("P", "Q", "style_offset", "modulation")


def decode(data: bytes, table: LayerTable, **options: object) -> TokenSet:
    return decode_token_set(
        data, **({"table": table, "fingerprint": "f0" * 32, "name_hint": "a.tokens"} | options)
    )


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_round_trip(table: LayerTable, make_token_set: from_set, dtype: str) -> None:
    original = make_token_set(dtype=dtype)
    data = encode_token_set(original)
    read = decode(data, table)
    assert encode_token_set(read) == data
    for field in ("kind", "name", "source", "licence", "fingerprint", "table_hash", "dtype"):
        assert getattr(read, field) == getattr(original, field)
    assert read.rank == original.rank == 2
    stored = {"F16": np.float16, "F32": np.float32}[dtype]
    for group in GROUPS:
        got, wanted = getattr(read, group), getattr(original, group)
        assert got.keys() == wanted.keys()
        for layer, array in got.items():
            assert array.dtype == stored
            assert array.flags.writeable
            np.testing.assert_array_equal(array, wanted[layer].astype(stored))
    np.testing.assert_array_equal(read.w_plus, original.w_plus.astype(stored))


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_file_is_what_the_safetensors_library_writes(
    tmp_path: Path, make_token_set: from_set, dtype: str
) -> None:
    original = make_token_set(dtype=dtype)
    path = tmp_path / "a.tokens"
    write_token_set(path, original)
    data = path.read_bytes()
    tensors = safetensors.numpy.load(data)
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    assert safetensors.numpy.save(tensors, metadata) == data
    np.testing.assert_array_equal(
        tensors["b8.conv0/P"].astype("f4"),
        original.P["b8.conv0"].astype(tensors["b8.conv0/P"].dtype).astype("f4"),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"P": {}, "Q": {}, "style_offset": {}, "modulation": {}},
        {"style_offset": {}, "modulation": {}, "w_plus": None},
        {"P": {}, "Q": {}, "modulation": {}, "w_plus": None, "kind": "domain"},
        {"P": {}, "Q": {}, "style_offset": {}, "w_plus": None, "kind": "domain"},
    ],
    ids=["w_plus", "residual", "style_offset", "modulation"],
)
def test_groups_are_optional(
    table: LayerTable, make_token_set: from_set, changes: dict[str, object]
) -> None:
    original = make_token_set(**changes)
    read = decode(encode_token_set(original), table)
    assert {g: set(getattr(read, g)) for g in GROUPS} == {
        g: set(getattr(original, g)) for g in GROUPS
    }
    assert (read.w_plus is None) == (original.w_plus is None)
    assert read.rank == (2 if original.P else 0)


def test_a_part_of_the_layers_may_be_refined_and_ranks_may_differ(
    table: LayerTable, make_token_set: from_set
) -> None:
    original = make_token_set()
    part = make_token_set(
        P={"b8.conv0": original.P["b8.conv0"], "b8.conv1": original.P["b8.conv1"][:1]},
        Q={"b8.conv0": original.Q["b8.conv0"], "b8.conv1": original.Q["b8.conv1"][:1]},
    )
    read = decode(encode_token_set(part), table)
    assert {layer: array.shape[0] for layer, array in read.P.items()} == {
        "b8.conv0": 2,
        "b8.conv1": 1,
    }


def test_style_offsets_may_leave_torgb_out(table: LayerTable, make_token_set: from_set) -> None:
    offsets = make_token_set().style_offset
    convs = {layer.name: offsets[layer.name] for layer in table.convs}
    read = decode(encode_token_set(make_token_set(style_offset=convs)), table)
    assert read.style_offset.keys() == convs.keys()


# ------------------------------------------------------------------------------- refused writing


def _with(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[1] = value
    return changed


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda s: {"kind": "Domain"}, UsageError, "its kind"),
        (lambda s: {"kind": "domain"}, UsageError, "w_plus in a set"),
        (lambda s: {"name": ""}, UsageError, "its name"),
        (lambda s: {"name": "../x"}, UsageError, "its name"),
        (lambda s: {"name": "n" * 65}, UsageError, "its name"),
        (lambda s: {"name": "a\x1b"}, UsageError, "its name"),
        (lambda s: {"source": "a\nb"}, UsageError, "field source"),
        (lambda s: {"licence": "x" * 5000}, UsageError, "field licence"),
        (lambda s: {"fingerprint": "F0" * 32}, UsageError, "fingerprint is not"),
        (lambda s: {"table_hash": "0"}, UsageError, "layer_table is not"),
        (lambda s: {"dtype": "BF16"}, UsageError, "dtype"),
        (lambda s: {"Q": {}}, UsageError, "only one of P and Q"),
        (lambda s: {"P": {}}, UsageError, "only one of P and Q"),
        (lambda s: {"P": {k: v[:1] for k, v in s.P.items()}}, UsageError, "differ in rank"),
        (lambda s: {"P": {k: v[0] for k, v in s.P.items()}}, UsageError, "dimensions"),
        (lambda s: {"w_plus": s.w_plus[0]}, UsageError, "dimensions"),
        (lambda s: {"P": {**s.P, "b4.torgb": s.P["b4.conv1"]}}, UsageError, "not a tensor"),
        (lambda s: {"modulation": {"../x": s.w_plus[0]}}, UsageError, "not a tensor"),
        (
            lambda s: {"P": {}, "Q": {}, "style_offset": {}, "modulation": {}, "w_plus": None},
            UsageError,
            "no tokens",
        ),
        (lambda s: {"w_plus": _with(s.w_plus, np.nan)}, NumericsError, r"nan at \[0, 1\]"),
        (lambda s: {"w_plus": _with(s.w_plus, -np.inf)}, NumericsError, "-inf at"),
        (lambda s: {"w_plus": _with(s.w_plus, 1e7)}, NumericsError, "too large"),
        (lambda s: {"w_plus": _with(s.w_plus, 7e4), "dtype": "F16"}, NumericsError, "fit F16"),
        (lambda s: {"w_plus": s.w_plus.astype(int)}, UsageError, "not an array of floats"),
        (lambda s: {"w_plus": np.zeros((1300, 5000), "f4")}, UsageError, "too large for a file"),
    ],
)
def test_writing_refuses(
    make_token_set: from_set,
    change: Callable[[TokenSet], dict[str, object]],
    error: type[RefineStyleError],
    reason: str,
) -> None:
    original = make_token_set()
    with pytest.raises(error, match=reason):
        encode_token_set(replace(original, **change(original)))


# ------------------------------------------------------------------------------- refused reading


def test_values_that_are_not_finite_are_named(
    table: LayerTable, make_token_set: from_set, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = make_token_set()
    bad = replace(original, w_plus=_with(original.w_plus, np.nan))
    with monkeypatch.context() as patch:
        patch.setattr(sealed_file, "_require_values", lambda *_: None)
        patch.setattr(np, "isfinite", lambda array: np.ones_like(array, bool))
        data = encode_token_set(bad)
    with pytest.raises(MalformedFileError, match=r"w_plus: a value.*\n.*nan at \[0, 1\]"):
        decode(data, table)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({4: 4, 8: 2}, "shape of b8.conv0/P"),
        ({4: 5, 8: 3}, "shape of b4.conv1/P"),
        ({4: 4}, "no layer b8.conv0"),
        ({4: 4, 8: 3, 16: 3}, "shape of w_plus"),
    ],
)
def test_shapes_must_fit_even_when_foreign_sets_are_allowed(
    make_token_set: from_set, other: dict[int, int], reason: str
) -> None:
    data = encode_token_set(make_token_set())
    table = LayerTable.from_channels(other, 5)
    with pytest.raises(IncompatibleError, match=reason):
        decode_token_set(
            data, table=table, fingerprint=None, allow_foreign=True, name_hint="a.tokens"
        )


def test_w_plus_shape_must_fit(make_token_set: from_set) -> None:
    table = LayerTable.from_channels({4: 4, 8: 3}, 6)
    data = encode_token_set(make_token_set(table_hash=table.hash))
    with pytest.raises(
        IncompatibleError, match=r"shape of w_plus\nfound \(4, 5\), expected \(4, 6\)"
    ):
        decode(data, table)


@pytest.mark.parametrize("group", ["style_offset", "modulation"])
def test_incomplete_groups(table: LayerTable, make_token_set: from_set, group: str) -> None:
    layers = dict(getattr(make_token_set(), group))
    layers.pop("b8.conv1")
    data = encode_token_set(make_token_set(**{group: layers}))
    with pytest.raises(MalformedFileError, match=f"{group} group is incomplete\nfound none for b8"):
        decode(data, table)


def test_incomplete_torgb_offsets(table: LayerTable, make_token_set: from_set) -> None:
    layers = dict(make_token_set().style_offset)
    layers.pop("b4.torgb")
    data = encode_token_set(make_token_set(style_offset=layers))
    with pytest.raises(MalformedFileError, match=r"found none for b4\.torgb$"):
        decode(data, table)


def test_another_generator(table: LayerTable, make_token_set: from_set) -> None:
    data = encode_token_set(make_token_set())
    with pytest.raises(IncompatibleError, match="made for another generator") as caught:
        decode(data, table, fingerprint="ab" * 32)
    assert caught.value.exit_code == 5
    assert decode(data, table, fingerprint="ab" * 32, allow_foreign=True).name == "Zoë"
    assert decode(data, table, fingerprint=None).name == "Zoë"
    other = LayerTable.from_channels({4: 4, 8: 3}, 6)
    with pytest.raises(IncompatibleError, match="layer table"):
        decode(data, other, fingerprint=None)
    assert decode_token_set(data, table=None, fingerprint=None).rank == 2


# ------------------------------------------------------------------------------------------ files


def test_read_and_write(tmp_path: Path, table: LayerTable, make_token_set: from_set) -> None:
    path = tmp_path / "sketch.tokens"
    write_token_set(path, make_token_set())
    read = read_token_set(path, table=table, fingerprint="f0" * 32)
    assert read.source == "a pencil sketch of a café"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MalformedFileError, match=r"sketch\.tokens: it ends inside its data"):
        read_token_set(path, table=table, fingerprint=None)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.tokens"
    path.touch()
    os.truncate(path, tokens.MAX_TOKEN_FILE_BYTES + 1)
    with pytest.raises(UnsafeFileError, match="too large for a token set"):
        read_token_set(path, table=None, fingerprint=None)


def test_hostile_text_is_escaped_in_messages(table: LayerTable, make_token_set: from_set) -> None:
    data = encode_token_set(make_token_set())
    with pytest.raises(IncompatibleError) as caught:
        decode(data, table, fingerprint="ab" * 32, name_hint="\x1b]0;gotcha\x07.tokens")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sketch", "sketch"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a/b\\c", "a_b_c"),
        ("  .hidden. ", "hidden"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("\x1b[0m<b>", "__0m_b_"),
        ("Zoë 3+4", "Zoë 3+4"),
        ("x" * 99, "x" * 64),
    ],
)
def test_clean_name(text: str, name: str) -> None:
    assert clean_name(text) == name
    assert clean_name(name) == name
    assert os.sep not in name


# ------------------------------------------------------------------------------------ fingerprint


def test_fingerprint() -> None:
    rng = np.random.default_rng(0)
    tensors = {"b4.const": rng.normal(size=(4, 4)).astype("f4"), "a": np.ones((2, 3), "f4")}
    base = fingerprint_synthesis(tensors)
    assert base == fingerprint_synthesis(dict(reversed(tensors.items())))
    assert base == fingerprint_synthesis({k: np.asfortranarray(v) for k, v in tensors.items()})
    assert base == fingerprint_synthesis(
        {k: v.astype(">f4").astype("f4") for k, v in tensors.items()}
    )
    one_bit = tensors["b4.const"].copy()
    one_bit.view("i4")[0, 0] ^= 1
    others = [
        tensors | {"b4.const": one_bit},
        tensors | {"a": np.ones((3, 2), "f4")},
        {"b": tensors["a"], "b4.const": tensors["b4.const"]},
        {"a": tensors["a"]},
    ]
    assert len({base, *map(fingerprint_synthesis, others)}) == 5
    with pytest.raises(InternalError, match="float16"):
        fingerprint_synthesis({"a": np.ones(2, "f2")})


def test_metadata_is_one_json_string(make_token_set: from_set) -> None:
    data = encode_token_set(make_token_set())
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["refinestyle"]
    metadata = json.loads(header["__metadata__"]["refinestyle"])
    assert metadata["format"] == "refinestyle-tokens"
    assert (metadata["version"], metadata["rank"], metadata["dtype"]) == ("1.0", 2, "F32")
