"""Sidecars of engines: read back as written, nothing else accepted, nothing foreign passed."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rs_runtime.contracts.engine_file import (
    EngineFile,
    Machine,
    PluginLibrary,
    Recipe,
    ShapeRange,
    engine_path,
    engines_folder,
    find_engine,
    read_engine,
    read_plugin_library,
    stale,
)
from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, ResourceError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.manifest import FileEntry
from rs_runtime.contracts.roles import TensorSpec

ENGINE, LIBRARY = b"an engine", b"a library"
GRAPH = sha256_hex(b"a graph")
MACHINE = Machine("10.16.1.11", "NVIDIA H200", "9.0", "13.0", "linux-x86_64")
SIDECAR = EngineFile(
    role="synthesis",
    machine=MACHINE,
    recipe=Recipe(
        graph=GRAPH,
        precision="fp16",
        profile={"P": ShapeRange((1, 1, 96), (1, 40, 96), (8, 136, 96))},
        flags=("TF32",),
        plugin=PluginLibrary("librefined_conv_plugin.so", "1", sha256_hex(LIBRARY)),
    ),
    inputs=(TensorSpec("P", "float32", ("N", "L", 96)),),
    outputs=(TensorSpec("image", "uint8", ("N", 32, 32, 3)),),
    engine=FileEntry(len(ENGINE), sha256_hex(ENGINE)),
    made={"when": "2026-11-20T12:00:00Z", "by": "a test"},
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle's folder with one engine, its sidecar and its plugin library beside it."""
    root = tmp_path / "bundle"
    path = engine_path(engines_folder(root), SIDECAR.role, MACHINE)
    path.parent.mkdir()
    path.write_bytes(ENGINE)
    path.with_suffix(".json").write_bytes(SIDECAR.to_json())
    (path.parent / SIDECAR.recipe.plugin.file).write_bytes(LIBRARY)
    return root


def test_read_back_as_written() -> None:
    plain = replace(SIDECAR, recipe=replace(SIDECAR.recipe, plugin=None))
    for sidecar in (SIDECAR, plain):
        assert EngineFile.from_json(sidecar.to_json(), "x") == sidecar


def test_the_engine_of_this_machine_is_found(bundle: Path) -> None:
    path, sidecar = find_engine(bundle, "synthesis", MACHINE, GRAPH)
    assert sidecar == SIDECAR
    assert read_engine(path, sidecar) == ENGINE
    assert read_plugin_library(path.parent, sidecar.recipe.plugin).read_bytes() == LIBRARY


@pytest.mark.parametrize("part", asdict(MACHINE))
def test_an_engine_of_another_machine_is_refused(bundle: Path, part: str) -> None:
    here = replace(MACHINE, **{part: "other"})
    with pytest.raises(IncompatibleError) as refused:
        find_engine(bundle, "synthesis", here, GRAPH)
    assert refused.value.found.endswith(getattr(MACHINE, part))
    assert refused.value.expected.endswith("other")
    assert "rs-export" in refused.value.hint


def test_an_engine_of_another_graph_is_refused(bundle: Path) -> None:
    with pytest.raises(IncompatibleError, match="graph"):
        find_engine(bundle, "synthesis", MACHINE, sha256_hex(b"exported again"))


def test_the_nearest_engine_says_what_differs(bundle: Path) -> None:
    far = replace(SIDECAR, machine=Machine("8.6", "Tesla T4", "7.5", "11.4", "linux-x86_64"))
    folder = engines_folder(bundle)
    (folder / "synthesis-000000000000.json").write_bytes(far.to_json())
    with pytest.raises(IncompatibleError) as refused:
        find_engine(bundle, "synthesis", replace(MACHINE, cuda_driver="13.1"), GRAPH)
    assert refused.value.found == "cuda driver 13.0"


def test_no_engine_at_all(bundle: Path) -> None:
    with pytest.raises(ResourceError, match="--engine"):
        find_engine(bundle, "mapping", MACHINE, GRAPH)


def test_a_renamed_engine_is_refused(bundle: Path) -> None:
    path = engine_path(engines_folder(bundle), "synthesis", MACHINE)
    path.with_suffix(".json").rename(path.with_name("synthesis-other.json"))
    with pytest.raises(MalformedFileError, match="not the name"):
        find_engine(bundle, "synthesis", MACHINE, GRAPH)


@pytest.mark.parametrize("found", [ENGINE[:-1], b"another one", b"an enginE"], ids=str)
def test_bytes_that_are_not_the_engine_are_refused(bundle: Path, found: bytes) -> None:
    path, sidecar = find_engine(bundle, "synthesis", MACHINE, GRAPH)
    path.write_bytes(found)
    with pytest.raises(MalformedFileError):
        read_engine(path, sidecar)


def test_another_plugin_library_is_refused(bundle: Path) -> None:
    folder = engines_folder(bundle)
    (folder / SIDECAR.recipe.plugin.file).write_bytes(b"another")
    with pytest.raises(MalformedFileError, match="sidecar"):
        read_plugin_library(folder, SIDECAR.recipe.plugin)


def test_every_part_of_the_recipe_is_compared() -> None:
    recipe = vars(SIDECAR.recipe)
    assert stale(SIDECAR, MACHINE, **recipe) == {}
    for part in recipe:
        assert set(stale(SIDECAR, MACHINE, **recipe | {part: "other"})) == {part}


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (("format",), "refinestyle-bundle", MalformedFileError),
        (("schema_version",), 2, IncompatibleError),
        (("note",), "unknown field", MalformedFileError),
        (("role",), None, MalformedFileError),
        (("machine", "gpu"), 5, MalformedFileError),
        (("machine", "note"), "x", MalformedFileError),
        (("recipe", "graph"), "abc", MalformedFileError),
        (("recipe", "profile", "P", "min"), [1, 1], MalformedFileError),
        (("recipe", "profile", "P", "max"), [8, 36, 96], MalformedFileError),
        (("recipe", "plugin", "file"), "../other.so", MalformedFileError),
        (("engine", "sha256"), "abc", MalformedFileError),
        (("made", "when"), "\n", MalformedFileError),
    ],
    ids=str,
)
def test_anything_else_is_refused(path: tuple[str, ...], value: object, error: type) -> None:
    changed = json.loads(SIDECAR.to_json())
    *parents, last = path
    inner = changed
    for name in parents:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(error):
        EngineFile.from_json(json.dumps(changed).encode(), "x")
