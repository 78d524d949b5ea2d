"""The C++ library, configured, built and installed once a test run."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cpp.checker import Checker
from tests.cpp.library import Library

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "rs_runtime" / "cpp"
BUNDLE = ROOT / "rs_runtime" / "demo" / "bundle"
PHOTO = ROOT / "examples" / "photo.jpg"
TIMEOUT = 600

# Where the headers lie that no package of ours brings.
ONNXRUNTIME_INCLUDE = os.environ.get("ONNXRUNTIME_INCLUDE")


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    """Runs a program; its output is in the failure if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
    return done


def require(*programs: str) -> None:
    """Skips unless these programs are installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def require_packages() -> None:
    """Skips unless the library's own requirements are there: see docs/embed-cpp.md."""
    require("cmake", "c++")
    folder = Path("/usr/include")
    for header, package in (
        ("nlohmann/json.hpp", "nlohmann-json3-dev"),
        ("jpeglib.h", "libjpeg-dev"),
        ("png.h", "libpng-dev"),
        ("doctest/doctest.h", "doctest-dev"),
    ):
        if not (folder / header).exists():
            pytest.skip(f"{package} is not installed")


def openvino_options() -> list[str]:
    """Where CMake finds OpenVINO: in the wheel."""
    openvino = pytest.importorskip("openvino")
    return [f"-DOpenVINO_DIR={Path(openvino.__file__).parent / 'cmake'}"]


def build(folder: Path, options: Sequence[str], *targets: str) -> None:
    """Configures and builds the library with its unit tests and examples."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    common = ["-DREFINESTYLE_TESTS=ON", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON"]
    run("cmake", "-S", SOURCE, "-B", folder, *generator, *common, *options)
    chosen = ["--target", *targets] if targets else []
    run("cmake", "--build", folder, "--parallel", "2", *chosen)


def built_once(
    tmp_path_factory: pytest.TempPathFactory,
    worker_id: str,
    name: str,
    make: Callable[[Path], object],
) -> Path:
    """A build tree that several test processes share."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            make(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The build tree of the whole library."""
    require_packages()
    options = [*openvino_options(), "-DREFINESTYLE_EXAMPLES=ON"]
    if ONNXRUNTIME_INCLUDE:
        options.append(f"-DREFINESTYLE_ONNXRUNTIME_INCLUDE={ONNXRUNTIME_INCLUDE}")

    def make(folder: Path) -> None:
        build(folder, options)
        run("cmake", "--install", folder, "--prefix", folder / "prefix")

    return built_once(tmp_path_factory, worker_id, "cpp-build", make)


@pytest.fixture(scope="session")
def prefix(build_folder: Path) -> Path:
    """Where the library is installed."""
    return build_folder / "prefix"


@pytest.fixture(scope="session")
def library(prefix: Path) -> Library:
    """The installed library."""
    (path,) = prefix.rglob("librefinestyle.so")
    return Library(path)


@pytest.fixture(scope="session")
def checker(build_folder: Path) -> Checker:
    """Reads files as the library does."""
    return Checker(build_folder / "refinestyle_check")


@pytest.fixture(scope="session")
def sanitized_checker(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Checker:
    """The same under the address and undefined-behaviour sanitizers."""
    require_packages()
    flags = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
    options = [f"-DCMAKE_CXX_FLAGS={flags}", "-DREFINESTYLE_OPENVINO=OFF"]
    folder = built_once(
        tmp_path_factory,
        worker_id,
        "cpp-sanitized",
        lambda own: build(own, options, "refinestyle_check"),
    )
    return Checker(folder / "refinestyle_check")


def onnxruntime_options() -> dict[str, bytes | str]:
    """Options that open a bundle with ONNX Runtime, the one in the wheel."""
    if not ONNXRUNTIME_INCLUDE:
        pytest.skip("ONNXRUNTIME_INCLUDE does not name the folder of onnxruntime_c_api.h")
    onnxruntime = pytest.importorskip("onnxruntime")
    (path,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return {"provider": b"cpu", "onnxruntime": str(path).encode()}
