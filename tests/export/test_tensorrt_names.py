"""Every name of TensorRT that our code touches is one of NVIDIA's own bindings, 10.x and 11.x.

The bindings come from PyPI; the libraries behind them do not, so stubs stand in for these
(tensorrt_stub.c). They show which names there are, and nothing of what TensorRT does.
"""

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.refined_conv import library
from tests.readme.pages import ROOT

PACKAGE = "tensorrt-cu13-bindings"
VERSIONS = ("10.16.1.11", "11.4.0.106")
SOURCES = ("rs_export/engine.py", "rs_runtime/engines/tensorrt_engine.py")
# What our variables, fields and functions hold, and what TensorRT's methods give.
TYPES = {
    "trt": "",
    "library": "",
    "builder": "Builder",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "shapes": "IOptimizationProfile",
    "_runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "_context": "IExecutionContext",
    "get_plugin_registry": "IPluginRegistry",
    "get_error": "ParserError",
    "get_timing_cache": "ITimingCache",
}
Touched = dict[str, set[tuple[str, str]]]


def touched(source: str) -> Touched:
    """What a module touches, as (class, name), "" for the package itself.

    Returns:
        "needed" names, "optional" ones that are asked for by getattr or hasattr, and "keywords" as
        ("class.method", keyword).
    """
    found: Touched = {"needed": set(), "optional": set(), "keywords": set()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (kind := _type(node.value)) is not None:
            found["needed"].add((kind, node.attr))
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in ("getattr", "hasattr"):
            kind = _type(node.args[0])
            if kind is not None and isinstance(node.args[1], ast.Constant):
                found["optional"].add((kind, node.args[1].value))
        if isinstance(function, ast.Attribute) and (kind := _type(function.value)) is not None:
            words = [word.arg for word in node.keywords if word.arg]
            found["keywords"] |= {(f"{kind}.{function.attr}", word) for word in words}
    return found


def _type(node: ast.expr) -> str | None:
    """The class of TensorRT that an expression is, or is an instance of; None for other things."""
    if isinstance(node, ast.Call):
        return _type(node.func)
    if isinstance(node, ast.Name):
        return TYPES.get(node.id)
    if isinstance(node, ast.Attribute):
        if node.attr in TYPES:
            return TYPES[node.attr]
        return node.attr if _type(node.value) == "" else None
    return None


@pytest.fixture(scope="session", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What tensorrt_bindings_probe says of one version of NVIDIA's bindings."""
    compiler = library.host_compiler()
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or not Linux: the stub libraries cannot be built")
    folder = request.config.cache.mkdir(PACKAGE) / request.param
    if not folder.is_dir():
        _install(request.param, folder)
    stubs = tmp_path_factory.mktemp("stubs")
    major = request.param.partition(".")[0]
    source = str(Path(__file__).with_name("tensorrt_stub.c"))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        soname = f"lib{name}.so.{major}"
        build = ["-x", "c", "-shared", "-fPIC", f"-Wl,-soname,{soname}", source]
        subprocess.run([compiler, *build, "-o", str(stubs / soname)], check=True)
    paths = {"LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    probe = Path(__file__).with_name("tensorrt_bindings_probe.py")
    done = subprocess.run(
        [sys.executable, str(probe)],
        env=os.environ | paths,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _install(version: str, folder: Path) -> None:
    own = Path(tempfile.mkdtemp(dir=folder.parent))
    arguments = ["--no-deps", "--only-binary=:all:", "--quiet", "--target", str(own)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *arguments, f"{PACKAGE}=={version}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["pip failed"]
        shutil.rmtree(own)
        pytest.skip(f"{PACKAGE} {version} is not to be had for this Python: {reason[-1]}")
    with contextlib.suppress(OSError):  # another test process was faster
        own.rename(folder)
    shutil.rmtree(own, ignore_errors=True)


def _missing(names: set[tuple[str, str]], members: dict[str, list[str]]) -> Iterator[str]:
    for kind, name in sorted(names):
        if name not in members.get(kind, ()):
            yield f"{kind or 'tensorrt'}.{name}"


@pytest.mark.parametrize("source", SOURCES)
def test_every_name_is_a_genuine_one(bindings: Any, source: str) -> None:
    found = touched((ROOT / source).read_text())
    assert list(_missing(found["needed"], bindings["members"])) == []
    unknown = [
        f"{method}({word}=)"
        for method, word in found["keywords"]
        if f"{word}:" not in bindings["signatures"].get(method, "")
    ]
    assert unknown == []


def test_names_are_asked_for_where_some_version_lacks_them(bindings: Any) -> None:
    optional = {
        name for source in SOURCES for name in touched((ROOT / source).read_text())["optional"]
    }
    assert optional == {("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")}
    assert list(_missing(optional, bindings["members"])) == []


def test_flags_are_taken_by_name(bindings: Any) -> None:
    assert bindings["network_flags"] == 1 << bindings["strongly_typed"]
    assert bindings["strongly_typed"] == {"10": 1, "11": 0}[bindings["version"][:2]]


def test_the_monitor_is_one_of_tensorrt_s(bindings: Any) -> None:
    assert bindings["is_monitor"]
    assert set(bindings["members"]["IProgressMonitor"]) >= {
        "phase_start",
        "step_complete",
        "phase_finish",
    }
    assert bindings["steps"] == [["whole", 0, 2], ["whole", 1, 2], ["whole", 2, 2]]
    assert bindings["goes_on"] == [True, True, False]


def test_the_runner_s_logger_is_one_of_tensorrt_s(bindings: Any) -> None:
    assert bindings["is_logger"]
    assert bindings["logged"] == ["bad"]
    assert bindings["refusal"] == "TensorRT is installed but does not start"


def test_other_names_would_be_seen() -> None:
    """What the check looks at, on lines that have mistakes of every kind."""
    found = touched(
        """
trt = library()
builder = trt.Builder(log)
builder.frobnicate(trt.BuilderFlag.FP16, loud=True)
library().get_plugin_registry().load_plugin(path)
parser.get_error(0).text()
self._context.run()
hasattr(trt, "Old")
other.name
"""
    )
    assert found["needed"] == {
        ("", "Builder"),
        ("", "BuilderFlag"),
        ("", "get_plugin_registry"),
        ("Builder", "frobnicate"),
        ("BuilderFlag", "FP16"),
        ("IPluginRegistry", "load_plugin"),
        ("OnnxParser", "get_error"),
        ("ParserError", "text"),
        ("IExecutionContext", "run"),
    }
    assert found["keywords"] == {("Builder.frobnicate", "loud")}
    assert found["optional"] == {("", "Old")}


def test_much_is_looked_at() -> None:
    needed = set.union(*(touched((ROOT / source).read_text())["needed"] for source in SOURCES))
    assert {kind for kind, _ in needed} >= set(TYPES.values())
    assert len(needed) > 40
