"""Other compilers, other processors, and sanitizers."""

from pathlib import Path

import pytest

from tests.cpp import native_graph
from tests.cpp.conftest import build, openvino_options, require, require_packages, run

pytestmark = pytest.mark.nightly
# /usr/include itself must not be among a cross compiler's folders.
_JSON_PACKAGE = """
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
target_include_directories(nlohmann_json::nlohmann_json INTERFACE ${CMAKE_CURRENT_LIST_DIR})
"""


def cross(folder: Path, system: str, processor: str, compiler: str, suffix: str = "") -> list[str]:
    """CMake's options for one of Debian's cross compilers, with the host's header-only JSON."""
    package = folder / "nlohmann_json"
    package.mkdir()
    (package / "nlohmann").symlink_to("/usr/include/nlohmann")
    (package / "nlohmann_jsonConfig.cmake").write_text(_JSON_PACKAGE)
    (package / "nlohmann_jsonConfigVersion.cmake").write_text("set(PACKAGE_VERSION_COMPATIBLE ON)")
    return [
        f"-DCMAKE_SYSTEM_NAME={system}",
        f"-DCMAKE_SYSTEM_PROCESSOR={processor}",
        f"-DCMAKE_C_COMPILER={compiler}-gcc{suffix}",
        f"-DCMAKE_CXX_COMPILER={compiler}-g++{suffix}",
        f"-Dnlohmann_json_DIR={package}",
        "-DREFINESTYLE_OPENVINO=OFF",
        "-DREFINESTYLE_PICTURE_FILES=OFF",
    ]


def test_aarch64_core_passes_its_unit_tests(tmp_path: Path):
    require("aarch64-linux-gnu-g++", "qemu-aarch64-static")
    require_packages()
    options = cross(tmp_path, "Linux", "aarch64", "aarch64-linux-gnu")
    options += ["-DCMAKE_EXE_LINKER_FLAGS=-static", "-Ddoctest_DIR=/usr/lib/cmake/doctest"]
    build(tmp_path / "build", options, "refinestyle_unit")
    run("qemu-aarch64-static", tmp_path / "build" / "refinestyle_unit")


def test_mingw_compiles_the_library(tmp_path: Path):
    require("x86_64-w64-mingw32-g++-posix")
    require_packages()
    # The variant that has std::thread and std::mutex.
    options = cross(tmp_path, "Windows", "x86_64", "x86_64-w64-mingw32", "-posix")
    build(tmp_path / "build", [*options, "-DREFINESTYLE_TESTS=OFF"], "refinestyle")
    assert list((tmp_path / "build").glob("librefinestyle.dll"))


def test_clang_compiles_without_a_warning(tmp_path: Path):
    require("clang++")
    require_packages()
    options = ["-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_C_COMPILER=clang"]
    build(tmp_path, [*options, *openvino_options(), "-DREFINESTYLE_EXAMPLES=ON"])
    run(tmp_path / "refinestyle_unit")


def test_unit_tests_have_nothing_to_report_under_sanitizers(tmp_path: Path):
    """Without OpenVINO, whose TBB loads a library in a way that the address sanitizer ends."""
    require_packages()
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -g1 -O1"
    options = [f"-DCMAKE_CXX_FLAGS={flags}", "-DREFINESTYLE_OPENVINO=OFF"]
    build(tmp_path, options, "refinestyle_unit")
    run(tmp_path / "refinestyle_unit")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_native_engines_threads_have_nothing_to_report_under_the_sanitizer(
    tmp_path: Path, compiler: str
):
    require(compiler)
    require_packages()
    flags = "-fsanitize=thread -g1 -O1"
    options = [f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_CXX_FLAGS={flags}"]
    build(tmp_path, [*options, "-DREFINESTYLE_OPENVINO=OFF"], "refinestyle_native_threads")
    graph = tmp_path / "graph.onnx"
    # Layers whose kernels stay in the cache, and such that do not.
    networks = native_graph.constants({4: 290, 8: 280, 16: 40, 32: 33})
    networks |= native_graph.trunk_constants((40, 40, 33, 150, 290))
    graph.write_bytes(native_graph.file_of(networks))
    run(tmp_path / "refinestyle_native_threads", graph)
