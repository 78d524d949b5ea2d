"""What is installed serves other projects, by CMake's package, by pkg-config, and from C."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rs_runtime import __version__
from rs_runtime.image_io import load_picture
from tests.cpp.conftest import BUNDLE, PHOTO, ROOT, require, run

CONSUMER = Path(__file__).with_name("consumer")
PAGE = ROOT / "docs" / "embed-cpp.md"


@pytest.mark.parametrize("name", ["CMakeLists.txt", "main.cpp"])
def test_page_shows_the_consumer(name: str):
    comment, _, text = (CONSUMER / name).read_text().partition("\n")
    assert comment.startswith(("#", "//"))
    assert text in PAGE.read_text()


def test_consumer_finds_the_package_and_draws(prefix: Path, tmp_path: Path):
    out = tmp_path / "out.png"
    run("cmake", "-S", CONSUMER, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    done = run(tmp_path / "build" / "consumer", BUNDLE, PHOTO, out)
    assert done.stdout.strip() == __version__
    drawn = load_picture(out)
    assert drawn.shape == (128, 128, 3) and len(np.unique(drawn)) > 50


def test_consumer_refuses_another_version(prefix: Path, tmp_path: Path):
    text = "find_package(refinestyle 0.2 REQUIRED)"
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.24)\nproject(other CXX)\n{text}\n"
    )
    done = subprocess.run(
        ["cmake", "-B", tmp_path / "b", "-S", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode and "0.2" in done.stderr


@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_header_is_c_and_pkg_config_finds_the_library(prefix: Path, tmp_path: Path, standard: str):
    require("cc", "pkg-config")
    (metadata,) = prefix.rglob("refinestyle.pc")
    environment = os.environ | {"PKG_CONFIG_PATH": str(metadata.parent)}
    flags = run("pkg-config", "--cflags", "--libs", "refinestyle", env=environment).stdout.split()
    program = tmp_path / "program"
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror"]
    source = CONSUMER / "header.c"
    run("cc", f"-std={standard}", *strict, source, *flags, "-o", program)
    (library,) = prefix.rglob("librefinestyle.so")
    found = run(program, env=os.environ | {"LD_LIBRARY_PATH": str(library.parent)})
    assert found.stdout.strip() == f"{__version__} 3"


def test_library_exports_the_header_and_nothing_else(prefix: Path):
    require("nm")
    (library,) = prefix.rglob("librefinestyle.so")
    (header,) = prefix.rglob("refinestyle.h")
    declared = set(re.findall(r"\b(refinestyle_\w+)\(", header.read_text().split("#define", 1)[1]))
    listed = run("nm", "-D", "--defined-only", library).stdout.splitlines()
    assert {line.split()[-1].partition("@")[0] for line in listed} == declared


def test_library_neither_ends_the_process_nor_prints():
    """Our own sources call nothing that would."""
    banned = re.compile(r"\b(exit|_exit|abort|terminate|signal|printf|puts|cout|cerr|clog)\s*[(<]")
    for source in (ROOT / "rs_runtime" / "cpp" / "src").rglob("*.cpp"):
        assert not banned.search(source.read_text()), source


def test_unit_tests_pass(build_folder: Path):
    run(build_folder / "refinestyle_unit")
