"""Building the native engine's library: done once, left out where it cannot be done."""

import ctypes
import os
import shutil
from pathlib import Path

import pytest

from rs_runtime.native import build_library
from rs_runtime.native.build_library import CannotBuildError, NativeBuildHook, build

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A compiler that notes its calls and compiles nothing."""
    path = tmp_path / "compiler"
    path.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nfor last; do :; done\ntouch "$last"\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return tmp_path / "calls"


def test_the_library_has_the_functions(tmp_path):
    library = ctypes.CDLL(str(build(tmp_path / "library.so")))
    for name in ("open", "close", "describe", "run", "instructions"):
        assert getattr(library, f"rs_native_{name}")


def test_it_is_built_again_only_when_a_source_is_newer(tmp_path, compiler):
    library = build(tmp_path / "library.so")
    calls = compiler.read_text().splitlines()
    assert sum("kernels.cpp" in call for call in calls) >= 1 and "-shared" in calls[-1]
    build(library)
    assert compiler.read_text().splitlines() == calls
    library.touch()
    newest = max(source.stat().st_mtime for source in build_library.FOLDER.glob("*.cpp"))
    os.utime(library, (newest - 1, newest - 1))
    build(library)
    assert len(compiler.read_text().splitlines()) == 2 * len(calls)


def test_a_compiler_that_fails_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(CannotBuildError, match="false"):
        build(tmp_path / "library.so")
    assert not list(tmp_path.iterdir())


def test_an_install_goes_on_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build_library, "LIBRARY", tmp_path / "library.so")
    monkeypatch.setattr(build_library.build, "__defaults__", (tmp_path / "library.so",))
    hook = NativeBuildHook.__new__(NativeBuildHook)
    warned: list[str] = []

    class App:
        display_warning = staticmethod(warned.append)

    monkeypatch.setattr(NativeBuildHook, "app", App(), raising=False)
    data: dict = {"artifacts": []}
    hook.initialize("standard", data)
    assert warned == ["without the native engine: there is no C++ compiler"]
    assert data == {"artifacts": []}
    assert not Path(tmp_path / "library.so").exists()
