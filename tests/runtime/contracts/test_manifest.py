"""The manifest: written canonically, read strictly, every rule with its own refusal."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rs_runtime.contracts.bundle import Manifest, build_manifest
from rs_runtime.contracts.errors import (
    IncompatibleError,
    InternalError,
    MalformedFileError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)

Contents = dict[str, bytes]


@pytest.fixture
def tree(manifest: Manifest, contents: Contents) -> dict[str, Any]:
    """A sound manifest as plain JSON values, to be bent."""
    return json.loads(build_manifest(manifest, contents).to_json())


def parse(tree: Any) -> Manifest:
    return Manifest.from_json(json.dumps(tree).encode(), "manifest.json")


def test_round_trip(manifest: Manifest, contents: Contents) -> None:
    listed = build_manifest(manifest, contents)
    data = listed.to_json()
    again = Manifest.from_json(data, "manifest.json")
    assert again == listed
    assert again.to_json() == data
    assert replace(again, files={}) == manifest
    assert listed.files["graphs/synthesis.onnx"].size == len(b"synthesis")


def test_same_content_same_bytes(manifest: Manifest, contents: Contents) -> None:
    reordered = replace(manifest, roles=dict(reversed(manifest.roles.items())))
    first = build_manifest(manifest, contents).to_json()
    assert build_manifest(reordered, dict(reversed(contents.items()))).to_json() == first


def _at(tree: dict[str, Any], path: str) -> tuple[Any, Any]:
    """The container and key of a dotted path."""
    *folders, last = path.split(".")
    for part in folders:
        tree = tree[int(part) if isinstance(tree, list) else part]
    return tree, int(last) if isinstance(tree, list) else last


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def bend(tree: dict[str, Any]) -> None:
        container, key = _at(tree, path)
        container[key] = value

    return bend


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    def bend(tree: dict[str, Any]) -> None:
        container, key = _at(tree, path)
        del container[key]

    return bend


def file(name: str, entry: Any = None) -> Callable[[dict[str, Any]], None]:
    """List a file more, or an old one otherwise."""
    entry = {"size": 0, "sha256": "0" * 64} if entry is None else entry
    return lambda tree: tree["files"].update({name: entry})


GRAPH = "roles.synthesis.variants.0"


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (drop("format"), "not the manifest of a bundle"),
        (put("format", "other"), "not the manifest of a bundle"),
        (put("schema_version", 0), "schema_version: out of range"),
        (put("schema_version", "1"), "schema_version: wrong type"),
        (put("schema_version", True), "schema_version: wrong type"),
        (drop("schema_version"), "schema_version: wrong type"),
        (put("note", 1), "unknown field note"),
        (drop("record"), "missing field record"),
        (put("model", ["two_stage"]), "model: wrong type"),
        (put("layer_table", {}), "layer table: wrong fields"),
        (put("layer_table.layers.2.up", 1), "layer table: not a StyleGAN2"),
        (put("image.size", 16), "image size and layer table differ"),
        (put("image.size", 7), "power of two"),
        (put("image.channels", "BGR"), "found BGR"),
        (put("generator_fingerprint", "0"), "fingerprint: not a SHA-256"),
        (put("rank", -1), "rank: out of range"),
        (put("rank", 2.0), "rank: wrong type"),
        (put("roles", []), "roles: wrong type"),
        (drop("roles.refiner"), "two_stage bundle without role refiner"),
        (put("roles.syn thesis", {}), "roles: not an identifier"),
        (put("roles.synthesis.variants", []), "variants: too few items"),
        (put("roles.synthesis.inputs", []), "inputs: too few items"),
        (drop("roles.synthesis.outputs"), "missing field outputs"),
        (put("roles.synthesis.inputs.0.dtype", "float64"), "found 'float64'"),
        (put("roles.synthesis.inputs.0.dtype", []), "inputs[0].dtype"),
        (put("roles.synthesis.inputs.0.shape", ["N", 0]), "shape: out of range"),
        (put("roles.synthesis.inputs.0.shape", ["N", None]), "shape: wrong type"),
        (put("roles.synthesis.inputs.0.shape", ["N+\n"]), "shape: not an identifier"),
        (put("roles.synthesis.inputs.0.name", "a b"), "name: not an identifier"),
        (put("roles.synthesis.outputs.1.name", "image"), "outputs: a name twice"),
        (put(f"{GRAPH}.file", "graphs/other.onnx"), "graphs/other.onnx is used but not listed"),
        (put(f"{GRAPH}.file", 1), "file: wrong type"),
        (put(f"{GRAPH}.engine", ""), "engine: not an identifier"),
        (put(f"{GRAPH}.precision", None), "precision: wrong type"),
        (put(f"{GRAPH}.form", "x" * 65), "form: not an identifier"),
        (put(f"{GRAPH}.batch", 0), "batch: out of range"),
        (put(f"{GRAPH}.batch", "any"), "batch: wrong type"),
        (put(f"{GRAPH}.extra", 1), "unknown field extra"),
        (put("domains.sketch", "domains/none.tokens"), "domains/none.tokens is used but"),
        (put("domains.a/b", "domains/sketch.tokens"), "domains: not an identifier"),
        (put("domains", ["sketch"]), "domains: wrong type"),
        (put("reconstruction", {}), "missing field mse_p50"),
        (put("reconstruction.mse_p99", -1), "mse_p99: not a measure"),
        (put("reconstruction.mse_p99", True), "mse_p99: not a measure"),
        (put("reconstruction.pictures", 0), "pictures: out of range"),
        (put("reconstruction.knows", "a\x1b[2J"), "knows: not plain text"),
        (put("golden", {}), "golden: wrong type"),
        (put("golden.0.role", "mapping"), "golden data of an absent role"),
        (put("golden.0.inputs", {}), "golden data that does not fit"),
        (put("golden.0.outputs", {}), "golden data that does not fit"),
        (put("golden.0.outputs.other", "golden/w_plus.npy"), "golden data that does not fit"),
        (put("golden.0.max_abs", {}), "golden tolerances"),
        (put("golden.0.max_abs.image_float", "1"), "max_abs: not a measure"),
        (put("golden.0.inputs.w_plus", "golden/none.npy"), "golden/none.npy is used but"),
        (put("parity", []), "parity: wrong type"),
        (put("record", None), "record: wrong type"),
        (put("licences.weights", 1), "licences.weights: wrong type"),
        (put("files", []), "files: wrong type"),
        (file("graphs/synthesis.onnx", 1), "graphs/synthesis.onnx: wrong type"),
        (file("graphs/synthesis.onnx", {"size": 1}), "missing field sha256"),
        (file("graphs/synthesis.onnx", {"size": -1, "sha256": "0" * 64}), "size: out of"),
        (file("graphs/synthesis.onnx", {"size": 1, "sha256": "A" * 64}), "not a SHA-256"),
        (file("Graphs/x.onnx"), "two files of one name"),
        (file("graphs/SYNTHESIS.onnx"), "two files of one name"),
        (file("graphs"), "two files of one name"),
        (file("manifest.json"), "two files of one name"),
        (file("Manifest.JSON"), "two files of one name"),
        (file(""), "not a path for a bundle"),
        (file("graphs//x"), "not a path for a bundle"),
        (file("./x"), "not a path for a bundle"),
        (file(".hidden"), "not a path for a bundle"),
        (file("x."), "not a path for a bundle"),
        (file("a b"), "not a path for a bundle"),
        (file("ünicode"), "not a path for a bundle"),
        (file("x" * 101), "not a path for a bundle"),
        (file("/".join("abcdefghi")), "not a path for a bundle"),
        (file("a\0b"), "not plain text"),
    ],
)
def test_malformed(tree: dict[str, Any], bend: Callable[[Any], None], reason: str) -> None:
    bend(tree)
    with pytest.raises(MalformedFileError) as caught:
        parse(tree)
    assert reason in str(caught.value)
    assert "manifest.json" in str(caught.value)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a\\x", "C:x", "..", "//x"])
@pytest.mark.parametrize("place", ["file", GRAPH + ".file", "domains.sketch"])
def test_paths_that_lead_out(tree: dict[str, Any], path: str, place: str) -> None:
    (file(path) if place == "file" else put(place, path))(tree)
    with pytest.raises(UnsafeFileError, match="leads out of the bundle") as caught:
        parse(tree)
    assert caught.value.exit_code == 4


def test_a_newer_schema_names_both_versions(tree: dict[str, Any]) -> None:
    tree.update(schema_version=2, new_field=1)
    with pytest.raises(IncompatibleError, match="found schema 2, expected at most 1") as caught:
        parse(tree)
    assert caught.value.exit_code == 5
    assert "update this program" in str(caught.value)


def test_an_unknown_kind_of_model(tree: dict[str, Any]) -> None:
    tree["model"] = "three_stage"
    with pytest.raises(IncompatibleError, match="found three_stage, expected generator, base"):
        parse(tree)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{", b'{"format":"refinestyle-bundle","format":"x"}', b"\xff"]
)
def test_not_json(data: bytes) -> None:
    with pytest.raises(MalformedFileError, match=r"manifest\.json"):
        Manifest.from_json(data, "manifest.json")


def test_unusual_but_right(tree: dict[str, Any]) -> None:
    tree.update(reconstruction=None, golden=[], domains={}, model="base")
    tree["roles"]["synthesis"]["variants"][0]["batch"] = 1
    tree["roles"]["text"] = tree["roles"]["preprocess"]
    read = parse(tree)
    assert read.reconstruction is None
    assert read.roles["synthesis"].variants[0].batch == 1


def test_the_writer_refuses_what_the_reader_would(manifest: Manifest, contents: Contents) -> None:
    with pytest.raises(
        UsageError, match=r"could not be read: .*refiner.onnx is used but not listed"
    ):
        build_manifest(manifest, {k: v for k, v in contents.items() if "refiner" not in k})
    with pytest.raises(UsageError, match="leads out"):
        build_manifest(manifest, contents | {"../x": b""})
    for wrong in (math.nan, object(), 1e400):
        with pytest.raises(InternalError, match="cannot be written as JSON"):
            build_manifest(replace(manifest, record={"x": wrong}), contents)


def test_mutants(manifest: Manifest, contents: Contents) -> None:
    """Cut and flipped manifests are read as they are or refused; no stray error comes out."""
    data = build_manifest(manifest, contents).to_json()
    refused = 0
    for i in range(0, len(data), 7):
        for changed in (data[:i], data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]):
            try:
                Manifest.from_json(changed, "manifest.json")
            except RefineStyleError:
                refused += 1
    assert refused > len(data) / 7
