"""Building engines: what goes in, what is written, and what is kept when it fails.

TensorRT is not installable where this runs. `FakeTensorRt` records how it is called and builds
nothing, so these tests say nothing of its behaviour; that the names are the genuine ones is
checked by test_tensorrt_names.
"""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rs_export import engine, plugin_library
from rs_export.cli import command
from rs_runtime.cli import run
from rs_runtime.contracts.bundle import write_bundle
from rs_runtime.contracts.engine_file import (
    Machine,
    engine_path,
    engines_folder,
    find_engine,
    read_engine,
    read_plugin_library,
    read_sidecar,
)
from rs_runtime.contracts.errors import IncompatibleError, ResourceError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.roles import Variant
from tests.runtime.tiny_bundle import manifest_and_contents

MACHINE = Machine("10.16.1.11", "NVIDIA H200", "9.0", "13.0", "linux-x86_64")
PLUGINS = b"the plugins"
PHASE = "Building an engine"


class FakeTensorRt:
    """As much of the package as a build touches; `calls` are (name, arguments)."""

    __version__ = MACHINE.tensorrt
    IProgressMonitor = object
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    BuilderFlag = SimpleNamespace(TF32="TF32")

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.errors: list[str] = []
        self.steps = 3
        self.during = lambda: None

    def Logger(self, severity: str) -> str:
        return severity

    Logger.ERROR = "error"

    def get_plugin_registry(self) -> Any:
        return SimpleNamespace(load_library=self._note("load_library", returns="handle"))

    def Builder(self, _logger: str) -> Any:
        return SimpleNamespace(
            create_network=self._note("create_network"),
            create_builder_config=self._config,
            create_optimization_profile=lambda: SimpleNamespace(set_shape=self._note("set_shape")),
            build_serialized_network=lambda _network, config: self._build(config),
        )

    def OnnxParser(self, _network: Any, _logger: str) -> Any:
        return SimpleNamespace(
            parse=self._note("parse", returns=not self.errors),
            num_errors=len(self.errors),
            get_error=lambda i: SimpleNamespace(desc=lambda: self.errors[i]),
        )

    def _config(self) -> Any:
        return SimpleNamespace(
            clear_flag=self._note("clear_flag"),
            add_optimization_profile=self._note("add_optimization_profile"),
            create_timing_cache=lambda known: known,
            set_timing_cache=self._note("set_timing_cache"),
            get_timing_cache=lambda: SimpleNamespace(serialize=lambda: b"timings"),
        )

    def _build(self, config: Any) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start(PHASE, None, self.steps)
        monitor.phase_start("a part of it", PHASE, 9)
        for step in range(self.steps):
            self.during()
            if not monitor.step_complete(PHASE, step):
                return None
        monitor.phase_finish(PHASE)
        parsed = [arguments[0] for name, *arguments in self.calls if name == "parse"]
        return b"engine of " + sha256_hex(parsed[-1]).encode()

    def _note(self, name: str, returns: Any = None) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, *arguments, *named.values()))
            return returns

        return call

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [tuple(arguments) for own, *arguments in self.calls if own == name]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRt:
    """A fake TensorRT, and a plugin library that is found."""
    fake = FakeTensorRt()
    monkeypatch.setattr(engine, "library", lambda: fake)
    monkeypatch.setattr(engine, "this_machine", lambda: MACHINE)
    (tmp_path / plugin_library.NAME).write_bytes(PLUGINS)
    monkeypatch.setenv(plugin_library.VARIABLE, str(tmp_path / plugin_library.NAME))
    return fake


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with a graph of form "plugin" for the synthesis, and a plain one."""
    manifest, contents = manifest_and_contents()
    contents["synthesis.tensorrt.onnx"] = contents["synthesis.onnx"]
    own = {
        "synthesis": Variant("synthesis.tensorrt.onnx", "tensorrt", "fp16", "plugin", "dynamic"),
        "refiner": Variant("refiner.onnx", "tensorrt", "fp32", "plain", "dynamic"),
    }
    roles = {
        name: replace(role, variants=(*([own[name]] if name in own else []), *role.variants))
        for name, role in manifest.roles.items()
    }
    write_bundle(tmp_path / "bundle", replace(manifest, roles=roles), contents)
    return tmp_path / "bundle"


def build(bundle: Path, said: list[str] | None = None) -> list[Path]:
    said = [] if said is None else said
    return engine.build_engines(bundle, tell=said.append, steps=lambda *_: None)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def graph_hash(bundle: Path, file: str) -> str:
    return sha256_hex((bundle / file).read_bytes())


def test_the_runtime_finds_what_was_built(fake: FakeTensorRt, bundle: Path) -> None:
    assert [path.name for path in build(bundle)] == [
        f"{role}-{MACHINE.digest}.engine" for role in ("refiner", "synthesis")
    ]
    graph = graph_hash(bundle, "synthesis.tensorrt.onnx")
    path, sidecar = find_engine(bundle, "synthesis", MACHINE, graph)
    assert read_engine(path, sidecar).startswith(b"engine of")
    assert read_plugin_library(path.parent, sidecar.recipe.plugin).read_bytes() == PLUGINS
    assert sidecar.recipe.precision == "fp16"
    assert [spec.name for spec in sidecar.outputs] == ["image", "image_float"]
    _, plain = find_engine(bundle, "refiner", MACHINE, graph_hash(bundle, "refiner.onnx"))
    assert plain.recipe.plugin is None


def test_shapes_cover_batches_and_domains(fake: FakeTensorRt, bundle: Path) -> None:
    build(bundle)
    # Rank 2 of the picture and 1 of the largest domain: usually 3, at most 2 + 4.
    assert ("P", (1, 1, 10), (1, 3, 10), (8, 6, 10)) in fake.of("set_shape")
    assert ("w_plus", (1, 4, 2), (1, 4, 2), (8, 4, 2)) in fake.of("set_shape")
    assert ("image", (1, 8, 8, 3), (1, 8, 8, 3), (8, 8, 8, 3)) in fake.of("set_shape")


def test_networks_are_strongly_typed_and_fp32_is_fp32(fake: FakeTensorRt, bundle: Path) -> None:
    build(bundle)
    assert set(fake.of("create_network")) == {(1 << 1,)}
    assert set(fake.of("clear_flag")) == {("TF32",)}


def test_a_fitting_engine_is_kept(fake: FakeTensorRt, bundle: Path) -> None:
    build(bundle)
    before, parsed, said = content(engines_folder(bundle)), len(fake.of("parse")), []
    build(bundle, said)
    assert content(engines_folder(bundle)) == before
    assert len(fake.of("parse")) == parsed
    assert [line for line in said if "fits" in line]


@pytest.mark.parametrize("change", ["plugins", "engine", "sidecar", "schema", "precision"])
def test_any_other_engine_is_built_again(fake: FakeTensorRt, bundle: Path, change: str) -> None:
    (_, path) = build(bundle)
    sidecar = path.with_suffix(".json")
    value = json.loads(sidecar.read_bytes())
    if change == "plugins":
        Path(os.environ[plugin_library.VARIABLE]).write_bytes(b"newer")
    elif change == "engine":
        path.write_bytes(b"damaged")
    elif change == "sidecar":
        sidecar.write_bytes(b"{")
    elif change == "schema":
        sidecar.write_text(json.dumps(value | {"schema_version": 2}))
    else:
        value["recipe"]["precision"] = "fp32"
        sidecar.write_text(json.dumps(value))
    parsed = len(fake.of("parse"))
    build(bundle)
    assert len(fake.of("parse")) == parsed + 1
    assert read_engine(path, read_sidecar(path)).startswith(b"engine of")


def test_later_builds_use_the_timings_of_earlier_ones(fake: FakeTensorRt, bundle: Path) -> None:
    build(bundle)
    assert fake.of("set_timing_cache") == [(b"", False), (b"timings", False)]


def test_without_the_library_functions_are_built(
    fake: FakeTensorRt, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "find_plugin_library", lambda: None)
    said: list[str] = []
    (_, path) = build(bundle, said)
    assert read_sidecar(path).recipe.plugin is None
    assert not fake.of("load_library")
    assert "plugins/refined_conv/README.md" in said[0]


def test_what_the_parser_refuses_is_an_error(fake: FakeTensorRt, bundle: Path) -> None:
    build(bundle)
    before = content(engines_folder(bundle))
    engine_path(engines_folder(bundle), "synthesis", MACHINE).write_bytes(b"damaged")
    fake.errors = ["No importer registered for op: Foo"]
    with pytest.raises(IncompatibleError, match="synthesis") as refused:
        build(bundle)
    assert refused.value.found == fake.errors[0]
    damaged = f"synthesis-{MACHINE.digest}.engine"
    assert content(engines_folder(bundle)) == before | {damaged: b"damaged"}


def test_ctrl_c_ends_a_build_and_keeps_what_was_there(fake: FakeTensorRt, bundle: Path) -> None:
    build(bundle)
    before = content(engines_folder(bundle))
    sidecar = engine_path(engines_folder(bundle), "refiner", MACHINE).with_suffix(".json")
    sidecar.write_bytes(b"stale")
    seen: list[int] = []

    def press() -> None:
        if not seen:
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(len(seen))
        time.sleep(0.001)

    fake.steps, fake.during = 60_000, press
    with pytest.raises(KeyboardInterrupt):
        build(bundle)
    assert 0 < len(seen) < 60_000
    assert content(engines_folder(bundle)) == before | {sidecar.name: b"stale"}


def test_outer_phases_are_the_progress(fake: FakeTensorRt, bundle: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    engine.build_engines(bundle, tell=lambda _: None, steps=lambda *step: seen.append(step))
    assert seen == [(PHASE, done, 3) for done in (0, 1, 2, 3)] * 2


def test_a_bundle_without_graphs_for_tensorrt(fake: FakeTensorRt, tmp_path: Path) -> None:
    write_bundle(tmp_path / "other", *manifest_and_contents())
    with pytest.raises(IncompatibleError, match="no graphs for TensorRT"):
        build(tmp_path / "other")


def test_a_place_that_cannot_be_written(fake: FakeTensorRt, bundle: Path) -> None:
    engines_folder(bundle).write_text("in the way")
    with pytest.raises(ResourceError, match="cannot be written"):
        build(bundle)


def test_an_old_tensorrt(fake: FakeTensorRt, bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(engine, "this_machine", lambda: replace(MACHINE, tensorrt="8.6.1.6"))
    with pytest.raises(IncompatibleError, match="too old"):
        build(bundle)


def rs_export(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        run(command, "rs-export", [str(argument) for argument in arguments])
    return end.value.code


def test_the_command_builds_the_engines_of_a_bundle(fake, bundle: Path, capsys) -> None:
    assert rs_export("--engine", "--bundle", bundle) == 0
    printed = capsys.readouterr().out
    assert f"synthesis-{MACHINE.digest}.engine" in printed
    assert "--provider tensorrt" in printed


def test_without_tensorrt_nothing_is_begun(tmp_path: Path, monkeypatch, capsys) -> None:
    def missing() -> Machine:
        raise ResourceError("TensorRT is not installed", hint="pip install it")

    monkeypatch.setattr(engine, "this_machine", missing)
    out = tmp_path / "bundle"
    assert rs_export("--model", "two_stage", "--fp16", "--engine", "--out", out) == 6
    assert capsys.readouterr().err == "rs-export: TensorRT is not installed\npip install it\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bundle", "x"],
        ["--engine"],
        ["--model=two_stage", "--engine", "--bundle", "x"],
        ["--model=two_stage", "--engine", "--target=cpu"],
        [],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together(arguments: list[str], capsys) -> None:
    assert rs_export(*arguments) == 2


def test_places_of_the_plugin_library(tmp_path: Path, monkeypatch) -> None:
    """The variable, then the environment's lib folder, then a clone's build folder; PTX beside."""
    name = plugin_library.NAME
    places = [tmp_path / "named", tmp_path / "prefix" / "lib", tmp_path / "build"]
    for place in places:
        place.mkdir(parents=True)
        (place / name).touch()
    monkeypatch.setattr(plugin_library.sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(plugin_library, "_BUILD", tmp_path / "build")
    monkeypatch.setenv(plugin_library.VARIABLE, str(places[0] / name))
    (places[1] / plugin_library.PTX).touch()
    for place in places:
        assert plugin_library.find_plugin_library() == place / name
        ptx = place / plugin_library.PTX if place == places[1] else None
        assert plugin_library.find_ptx(place / name) == ptx
        monkeypatch.delenv(plugin_library.VARIABLE, raising=False)
        if place != places[0]:
            (place / name).unlink()
    assert plugin_library.find_plugin_library() is None
