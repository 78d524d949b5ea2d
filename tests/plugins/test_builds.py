"""The builds for GPUs: PTX where nvcc is installed, and the CMake project with what it installs."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from plugins.refined_conv import library
from rs_export import plugin_library
from tests.plugins.conftest import HEADERS

FOLDER = Path(library.__file__).parent


def test_ptx_holds_the_kernels_and_tensor_core_products(tmp_path: Path) -> None:
    if library.cuda_compiler() is None:
        pytest.skip("nvcc is not installed")
    target = tmp_path / "refined_conv.ptx"
    library.build_ptx(target, 80)
    text = target.read_text()
    assert ".target sm_80" in text
    for name in ("column_kernel", "tile_kernel"):
        assert any(name in line for line in text.splitlines() if ".entry" in line)
    # fp16 and bf16 in, fp32 sums.
    for product in ("f32.f32", "f32.bf16.bf16.f32"):
        assert f"wmma.mma.sync.aligned.row.row.m16n16k16.{product}" in text


@pytest.mark.nightly
@pytest.mark.parametrize("architecture", library.ARCHITECTURES)
def test_every_gpu_generation_compiles(tmp_path: Path, architecture: int) -> None:
    if library.cuda_compiler() is None:
        pytest.skip("nvcc is not installed")
    target = tmp_path / "librefined_conv.so"
    library.build_cuda(target, [architecture])
    library.load(target)


def install(folder: Path, *options: str) -> Path:
    """Configures, builds and installs the CMake project; returns the prefix."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    build, prefix = folder / "build", folder / "prefix"
    for command in (
        [cmake, "-S", str(FOLDER), "-B", str(build), *options],
        [cmake, "--build", str(build)],
        [cmake, "--install", str(build), "--prefix", str(prefix)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return prefix


@pytest.mark.nightly
def test_cmake_builds_and_installs_the_host_library(tmp_path: Path) -> None:
    (found,) = install(tmp_path, "-DREFINED_CONV_HOST=ON").rglob("librefined_conv.so")
    library.load(found)


@pytest.mark.nightly
def test_an_exporter_finds_what_cmake_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library.cuda_compiler() is None:
        pytest.skip("nvcc is not installed")
    if not HEADERS:
        pytest.skip("TENSORRT_INCLUDE does not name a folder with TensorRT's headers")
    headers = f"-DREFINED_CONV_TENSORRT_INCLUDE={HEADERS[0]}"
    prefix = install(tmp_path, headers, "-DCMAKE_CUDA_ARCHITECTURES=90-real")
    monkeypatch.delenv(plugin_library.VARIABLE, raising=False)
    monkeypatch.setattr(plugin_library.sys, "prefix", str(prefix))
    found = plugin_library.find_plugin_library()
    assert found == prefix / "lib" / plugin_library.NAME
    assert hasattr(ctypes.CDLL(str(found)), "getCreators")
    ptx = plugin_library.find_ptx(found).read_text()
    assert ".target sm_75" in ptx and ".entry" in ptx
