"""TensorRT in C++: its code with NVIDIA's genuine headers, on stand-ins for the libraries.

The stand-ins' device is host memory: what passes here is our logic, no evidence for TensorRT.
`TENSORRT_INCLUDE` and `CUDA_INCLUDE` name the headers, as in tests/plugins/conftest.py.
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rs_runtime.contracts.bundle import Manifest, Role, TensorSpec, Variant, write_bundle
from rs_runtime.contracts.engine_file import EngineFile, Machine, PluginLibrary
from rs_runtime.contracts.files import sha256_hex
from tests.cpp.conftest import run
from tests.cpp.engine_folder import GRAPH, PLAN, PLUGIN, ROLE, write_engine
from tests.cpp.tensorrt_build import CUDA_INCLUDE, Driver, build_driver
from tests.plugins.conftest import HEADERS
from tests.runtime.contracts.conftest import contents, manifest, table  # noqa: F401


@pytest.fixture(scope="module", params=HEADERS or [None], ids=str)
def driver(request, tmp_path_factory, build_folder) -> Driver:
    if request.param is None:
        pytest.skip("TENSORRT_INCLUDE does not name a folder with TensorRT's headers")
    if not (CUDA_INCLUDE / "cuda_runtime_api.h").exists():
        pytest.skip(f"CUDA_INCLUDE: {CUDA_INCLUDE} has no cuda_runtime_api.h")
    core = build_folder / "librefinestyle_core.a"
    return build_driver(tmp_path_factory.mktemp("tensorrt"), Path(request.param), core)


@pytest.fixture
def machine(driver: Driver) -> Machine:
    """What the stand-ins say of themselves."""
    here = f"{sys.platform}-{platform.machine()}"
    return Machine(f"{driver.major}.0.0.7", "Imaginary 9000", "9.0", "13.2", here)


def drive(driver: Driver, bundle: Path, **variables: str) -> dict[str, Any]:
    """What the driver reports, with the stand-ins in the loader's way."""
    own = os.environ | {"LD_LIBRARY_PATH": str(driver.folder)} | variables
    return json.loads(run(driver.program, bundle, *driver.libraries, env=own).stdout)


def test_binds_by_name_reuses_memory_and_serves_threads(driver, machine, tmp_path):
    write_engine(tmp_path / "b", machine, plugin=PluginLibrary("p.so", "1", sha256_hex(PLUGIN)))
    seen = drive(driver, tmp_path / "b")
    assert seen["status"] == 0, seen
    assert seen["right"] == [True] * 4
    assert seen["allocations"] == [2, 2, 2, 4], "x and y; smaller shapes fit in, larger ones do not"
    assert seen["kept"] == 2, "what was too small is freed"
    assert seen["refused"] == [5, 5, 5, 5]
    assert seen["side_by_side"]
    assert 2 <= seen["contexts"] <= 4, "one for each concurrent run, kept for the next ones"
    assert seen["plugins"] == 1
    assert seen["left"] == [0, 0]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("tensorrt", "10.16.1.11"),
        ("gpu", "Imaginary 9001"),
        ("compute_capability", "8.7"),
        ("cuda_driver", "12.6"),
        ("platform", "linux-other"),
    ],
)
def test_an_engine_of_another_machine_is_refused_unopened(driver, machine, tmp_path, part, value):
    write_engine(tmp_path / "b", replace(machine, **{part: value}))
    report = drive(driver, tmp_path / "b")
    assert report["status"] == 5 and report["deserialized"] == 0
    assert value in report["message"]
    assert f"rs-export --engine --bundle {tmp_path / 'b'}" in report["message"]


def test_damage_is_refused_unopened_and_tensorrts_own_refusal_told(driver, machine, tmp_path):
    path = write_engine(tmp_path / "b", machine)
    path.write_bytes(b"a plaN")
    report = drive(driver, tmp_path / "b")
    assert report["status"] == 3 and report["deserialized"] == 0
    write_engine(tmp_path / "c", machine, plan=b"of another kind")
    report = drive(driver, tmp_path / "c")
    assert report["status"] == 5 and report["deserialized"] == 1
    assert "magicTag does not match" in report["message"]


def test_what_the_machine_lacks_is_named(driver, machine, tmp_path):
    bundle = tmp_path / "b"
    report = drive(driver, bundle)
    assert report["status"] == 6 and "no engine was built" in report["message"]
    write_engine(bundle, machine)
    report = drive(driver, bundle, STAND_IN_NO_DEVICE="1")
    assert report["status"] == 6 and "no NVIDIA GPU" in report["message"]
    report = drive(driver, bundle, STAND_IN_NO_MEMORY="1")
    assert report["status"] == 6 and "not enough memory on the GPU" in report["message"]


def test_without_the_libraries_it_says_what_to_install(driver, tmp_path):
    report = json.loads(run(driver.program, tmp_path / "b").stdout)
    assert report["status"] == 6
    assert f"libnvinfer.so.{driver.major}" in report["message"]
    assert f"install TensorRT {driver.major}" in report["message"]


# ------------------------------------------------------- engines that another program has built


@pytest.fixture
def bundle(tmp_path: Path, manifest: Manifest, contents: dict[str, bytes]) -> Path:  # noqa: F811
    """A bundle with the role whose engine the stand-in opens, beside roles that it does not."""
    x, y = (TensorSpec(name, "float32", ("N", 2)) for name in ("x", "y"))
    graph = Variant("graphs/double.onnx", "tensorrt", "fp32", "plugin", "dynamic")
    wide = replace(graph, file="graphs/wide.onnx", form="dense")
    roles = {
        ROLE: Role((x,), (y,), (graph,)),
        "wide": Role((replace(x, shape=("N", 3)),), (y,), (wide,)),
        "other": Role((x,), (replace(y, name="z"),), (wide,)),
    }
    contents |= {"graphs/double.onnx": GRAPH, "graphs/wide.onnx": b"another"}
    write_bundle(tmp_path / "b", replace(manifest, roles=manifest.roles | roles), contents)
    (tmp_path / "double.engine").write_bytes(PLAN)
    (tmp_path / "plugins.so").write_bytes(PLUGIN)
    return tmp_path / "b"


def take(driver: Driver, *words: object) -> tuple[int, str]:
    """Exit code and output of the command that takes engines in."""
    own = os.environ | {"LD_LIBRARY_PATH": str(driver.folder)}
    done = subprocess.run(
        [driver.tool, *map(str, words)], env=own, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("plugins", [False, True], ids=["functions", "plugins"])
def test_an_engine_of_trtexec_gets_the_sidecar_that_python_writes(
    driver, machine, tmp_path, bundle, plugins
):
    words = [tmp_path / "plugins.so"] if plugins else []
    code, out = take(driver, bundle, ROLE, tmp_path / "double.engine", *words)
    assert code == 0, out
    path = Path(out.strip())
    written = path.with_suffix(".json").read_bytes()
    made = json.loads(written)["made"]
    assert datetime.fromisoformat(made["when"]).tzinfo == UTC and made["by"].endswith("engine 0")
    digest = sha256_hex(PLUGIN)
    library = PluginLibrary(f"plugins-{digest[:12]}.so", "1", digest) if plugins else None
    expected = write_engine(tmp_path / "python", machine, plugin=library)
    assert path.name == expected.name and path.read_bytes() == PLAN
    sidecar = EngineFile.from_json(expected.with_suffix(".json").read_bytes(), "")
    recipe = replace(sidecar.recipe, flags=())
    assert written == replace(sidecar, recipe=recipe, made=made).to_json()
    seen = drive(driver, bundle)
    assert seen["status"] == 0 and seen["plugins"] == plugins


def test_engines_that_are_not_the_roles_are_not_taken(driver, tmp_path, bundle):
    engine = tmp_path / "double.engine"
    for code, text, words in (
        (2, "usage", [bundle, ROLE]),
        (2, "no graph for TensorRT", [bundle, "mapping", engine]),
        (2, "has no plugins", [bundle, "other", engine, tmp_path / "plugins.so"]),
        (2, "double.engines", [bundle, ROLE, tmp_path / "double.engines"]),
        (3, "not a bundle", [tmp_path, ROLE, engine]),
        (5, "another graph", [bundle, "wide", engine]),
        (5, "other tensors", [bundle, "other", engine]),
        (5, "magicTag does not match", [bundle, ROLE, tmp_path / "plugins.so"]),
    ):
        found, out = take(driver, *words)
        assert found == code and text in out, out
    assert not bundle.with_name("b.engines").exists()
