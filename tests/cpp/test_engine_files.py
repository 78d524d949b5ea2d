"""Engines beside a bundle: C++ takes and refuses what Python does, and says the same."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from rs_runtime.contracts.engine_file import (
    Machine,
    PluginLibrary,
    engines_folder,
    find_engine,
    read_engine,
    read_plugin_library,
)
from rs_runtime.contracts.errors import RefineStyleError
from rs_runtime.contracts.files import sha256_hex
from tests.cpp.checker import Checker, python_status
from tests.cpp.engine_folder import GRAPH, PLAN, PLUGIN, ROLE, write_engine
from tests.cpp.test_bundle_files import damaged_texts

HERE = Machine("10.3.0.30", "Orin (nvgpu)", "8.7", "12.6", "linux-aarch64")
LIBRARY = PluginLibrary("plugin.so", "1", sha256_hex(PLUGIN))


def request(bundle: Path) -> str:
    return f"engine {bundle} {ROLE} {sha256_hex(GRAPH)} {json.dumps(asdict(HERE))}"


def python_reads(bundle: Path) -> None:
    path, sidecar = find_engine(bundle, ROLE, HERE, sha256_hex(GRAPH))
    read_engine(path, sidecar)
    if sidecar.recipe.plugin is not None:
        read_plugin_library(path.parent, sidecar.recipe.plugin)


def _edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A sidecar that was changed as a tree."""

    def write(bundle: Path) -> None:
        sidecar = write_engine(bundle, HERE, plugin=LIBRARY).with_suffix(".json")
        tree = json.loads(sidecar.read_bytes())
        change(tree)
        sidecar.write_text(json.dumps(tree))

    return write


def _other(**changed: str) -> Callable[[Path], Path]:
    return lambda bundle: write_engine(bundle, replace(HERE, **changed))


def _plugin(data: bytes) -> Callable[[Path], None]:
    def write(bundle: Path) -> None:
        write_engine(bundle, HERE, plugin=LIBRARY)
        (engines_folder(bundle) / LIBRARY.file).write_bytes(data)

    return write


def _both(bundle: Path) -> None:
    write_engine(bundle, replace(HERE, gpu="A", cuda_driver="1.0"))
    write_engine(bundle, replace(HERE, platform="other"))


def _renamed(bundle: Path) -> None:
    path = write_engine(bundle, HERE)
    for suffix in (".engine", ".json"):
        path.with_suffix(suffix).rename(path.with_name(f"{ROLE}-0{suffix}"))


CASES: dict[str, tuple[int, Callable[[Path], Any]]] = {
    "valid": (0, lambda bundle: write_engine(bundle, HERE)),
    "valid with plugins": (0, lambda bundle: write_engine(bundle, HERE, plugin=LIBRARY)),
    "none built": (6, lambda bundle: None),
    "tensorrt": (5, _other(tensorrt="10.3.0.26")),
    "gpu": (5, _other(gpu="Thor")),
    "compute capability": (5, _other(compute_capability="11.0")),
    "driver": (5, _other(cuda_driver="13.0")),
    "platform": (5, _other(platform="linux-x86_64")),
    "everything": (5, lambda bundle: write_engine(bundle, Machine(*"abcd", "e" * 80))),
    "the nearer of two": (5, _both),
    "graph": (5, _edited(lambda tree: tree["recipe"].update(graph="0" * 64))),
    "a newer schema": (5, _edited(lambda tree: tree.update(schema_version=2))),
    "another name": (3, _renamed),
    "another format": (3, _edited(lambda tree: tree.update(format="engine"))),
    "no format": (3, _edited(lambda tree: tree.pop("format"))),
    "no range": (3, _edited(lambda tree: tree["recipe"]["profile"]["x"].update(max=[4, 1]))),
    "a plugin outside": (3, _edited(lambda tree: tree["recipe"]["plugin"].update(file="../p"))),
    "a damaged engine": (3, lambda b: write_engine(b, HERE).write_bytes(PLAN[:-1] + b"?")),
    "no engine": (2, lambda bundle: write_engine(bundle, HERE).unlink()),
    "another plugin library": (3, _plugin(b"another")),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts_and_their_reasons(checker: Checker, tmp_path: Path, name: str) -> None:
    status, write = CASES[name]
    write(tmp_path / "b")
    (answer,) = checker.ask([request(tmp_path / "b")])
    assert answer["status"] == status, answer
    if status == 0:
        python_reads(tmp_path / "b")
        return
    with pytest.raises(RefineStyleError) as refusal:
        python_reads(tmp_path / "b")
    error = refusal.value
    assert error.exit_code == status
    if status in (5, 6):
        for text in (error.what, error.found, error.expected, error.hint):
            assert text in answer["message"]


def test_sidecars_are_written_as_python_writes_them(checker: Checker, tmp_path: Path) -> None:
    for name, plugin in (("a", None), ("b", LIBRARY)):
        sidecar = write_engine(tmp_path / name, HERE, plugin=plugin).with_suffix(".json")
        (answer,) = checker.ask([f"sidecar {sidecar}"])
        assert answer["status"] == 0
        assert Path(f"{sidecar}.again").read_bytes() == sidecar.read_bytes()


def test_damaged_sidecars(checker: Checker, tmp_path: Path) -> None:
    sidecar = write_engine(tmp_path / "b", HERE, plugin=LIBRARY).with_suffix(".json")
    texts = damaged_texts(sidecar.read_bytes(), 400)
    bundles = [tmp_path / str(i) for i in range(len(texts))]
    for bundle, text in zip(bundles, texts, strict=True):
        write_engine(bundle, HERE, plugin=LIBRARY)
        (engines_folder(bundle) / sidecar.name).write_bytes(text)
    verdicts: Counter[int] = Counter()
    answers = checker.ask(request(bundle) for bundle in bundles)
    for bundle, text, answer in zip(bundles, texts, answers, strict=True):
        expected = python_status(lambda bundle=bundle: python_reads(bundle))
        assert answer["status"] == expected, (text, answer)
        verdicts[expected] += 1
    assert verdicts[3] >= 250 and verdicts[0] >= 1 and verdicts[5] >= 1
