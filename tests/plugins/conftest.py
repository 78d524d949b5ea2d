"""The host build of the plugin's kernel, once a test process."""

import ctypes

import pytest

from plugins.refined_conv import library


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernel's loop bodies as g++ compiles them, behind the same C ABI as on the GPU."""
    if library.host_compiler() is None:
        pytest.skip("no C++ compiler (g++, or what CXX names) to build the host library with")
    target = tmp_path_factory.mktemp("refined_conv") / "librefined_conv_host.so"
    library.build_host(target)
    return library.load(target)
