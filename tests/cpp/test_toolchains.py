"""Other compilers, other processors, and sanitizers over the soak program."""

import os
from pathlib import Path

import pytest

from tests.cpp import tiny_openvino
from tests.cpp.conftest import build, openvino_options, require, require_packages, run

pytestmark = pytest.mark.nightly
_WITHOUT_ENGINE = ["-DREFINESTYLE_OPENVINO=OFF"]
_WITHOUT_PICTURES = ["-DREFINESTYLE_PICTURE_FILES=OFF"]


def cross(system: str, processor: str, compiler: str) -> list[str]:
    """CMake's options for one of Debian's cross compilers; header-only packages are the host's."""
    return [
        f"-DCMAKE_SYSTEM_NAME={system}",
        f"-DCMAKE_SYSTEM_PROCESSOR={processor}",
        f"-DCMAKE_C_COMPILER={compiler}-gcc",
        f"-DCMAKE_CXX_COMPILER={compiler}-g++",
        "-Dnlohmann_json_DIR=/usr/share/cmake/nlohmann_json",
        "-Ddoctest_DIR=/usr/lib/cmake/doctest",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    ]


def test_aarch64_core_passes_its_unit_tests(tmp_path: Path):
    require("aarch64-linux-gnu-g++", "qemu-aarch64-static")
    require_packages()
    options = cross("Linux", "aarch64", "aarch64-linux-gnu")
    build(tmp_path, [*options, *_WITHOUT_ENGINE, *_WITHOUT_PICTURES])
    run("qemu-aarch64-static", tmp_path / "refinestyle_unit")


def test_mingw_compiles_the_library(tmp_path: Path):
    require("x86_64-w64-mingw32-g++-posix")
    require_packages()
    options = cross("Windows", "x86_64", "x86_64-w64-mingw32")
    options[3] += "-posix"  # the variant that has std::thread and std::mutex
    build(tmp_path, [*options, *_WITHOUT_ENGINE, *_WITHOUT_PICTURES], "refinestyle")
    assert list(tmp_path.glob("librefinestyle.dll"))


def test_clang_compiles_without_a_warning(tmp_path: Path):
    require("clang++")
    require_packages()
    options = ["-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_C_COMPILER=clang"]
    build(tmp_path, [*options, *openvino_options(), "-DREFINESTYLE_EXAMPLES=ON"])
    run(tmp_path / "refinestyle_unit")


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_soak_has_nothing_to_report(tmp_path: Path, sanitizer: str):
    """8 threads x 100 requests, and a thousand handles, with every byte and lock watched."""
    require_packages()
    flags = f"-fsanitize={sanitizer} -fno-sanitize-recover=all -g -O1"
    options = [f"-DCMAKE_CXX_FLAGS={flags}", "-DCMAKE_BUILD_TYPE=None", *openvino_options()]
    build(tmp_path / "build", options, "refinestyle_soak", "refinestyle_unit")
    run(tmp_path / "build" / "refinestyle_unit")
    bundle = tiny_openvino.build(tmp_path / "bundle")
    # OpenVINO and its TBB are not built with the sanitizers.
    suppressions = tmp_path / "suppressions"
    suppressions.write_text(
        "called_from_lib:libtbb\ncalled_from_lib:libopenvino\n"
        if sanitizer == "thread"
        else "leak:libopenvino\nleak:libtbb\n"
    )
    own = f"suppressions={suppressions}"
    run(
        tmp_path / "build" / "refinestyle_soak",
        bundle,
        env=os.environ | {"TSAN_OPTIONS": own, "LSAN_OPTIONS": own},
    )
