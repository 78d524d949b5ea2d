"""The host builds of the plugin's kernel and of the TensorRT plugins, once a test process.

`TENSORRT_INCLUDE` names the folder of NvInferRuntime.h, `CUDA_INCLUDE` that of cuda_runtime_api.h
(else CUDA's usual one); several of the first, separated like PATH, are tested one after the other.
"""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from plugins.refined_conv import library

HEADERS = [folder for folder in os.environ.get("TENSORRT_INCLUDE", "").split(os.pathsep) if folder]


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernel's loop bodies as g++ compiles them, behind the same C ABI as on the GPU."""
    if library.host_compiler() is None:
        pytest.skip("no C++ compiler (g++, or what CXX names) to build the host library with")
    target = tmp_path_factory.mktemp("refined_conv") / "librefined_conv_host.so"
    library.build_host(target)
    return library.load(target)


@pytest.fixture(scope="session", params=HEADERS or [None], ids=lambda folder: str(folder))
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ctypes.CDLL, Path]:
    """The driver, and the path of the plugin library in its host build."""
    if request.param is None:
        pytest.skip("TENSORRT_INCLUDE does not name a folder with TensorRT's headers")
    if library.host_compiler() is None:
        pytest.skip("no C++ compiler (g++, or what CXX names) to build the plugin with")
    headers = [Path(request.param), Path(os.environ.get("CUDA_INCLUDE", "/usr/local/cuda/include"))]
    if not (headers[1] / "cuda_runtime_api.h").exists():
        pytest.skip(f"CUDA_INCLUDE: {headers[1]} has no cuda_runtime_api.h")
    folder = tmp_path_factory.mktemp("lifecycle")
    plugin, driver = folder / "librefined_conv_plugin.so", folder / "liblifecycle.so"
    library.build_host(plugin, headers)
    source = str(Path(__file__).with_name("lifecycle.cpp"))
    flags = ["-std=c++17", "-shared", "-fPIC", "-Wno-deprecated-declarations"]
    flags += [f"-isystem{header}" for header in headers]
    subprocess.run([library.host_compiler(), *flags, source, "-ldl", "-o", str(driver)], check=True)
    loaded = ctypes.CDLL(str(driver))
    loaded.drive_failure.restype = ctypes.c_char_p
    return loaded, plugin
