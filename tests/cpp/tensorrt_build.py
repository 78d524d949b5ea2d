"""The TensorRT engine with genuine headers and stand-ins for the libraries."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cpp.conftest import SOURCE, run

HERE = Path(__file__).parent / "tensorrt"
CUDA_INCLUDE = Path(os.environ.get("CUDA_INCLUDE", "/usr/local/cuda/include"))
_OWN = ("engines/cuda_memory.cpp", "engines/tensorrt_engine.cpp", "engines/shared_library.cpp")
_INTERFACES = {
    "VRuntime": "NvInferImpl.h",
    "VCudaEngine": "NvInferImpl.h",
    "VExecutionContext": "NvInferImpl.h",
    "IPluginRegistry": "NvInferRuntimeCommon.h",
}


@dataclass(frozen=True)
class Driver:
    """What was built.

    Attributes:
        program: See tensorrt/drive.cpp.
        tool: The command that takes engines in.
        folder: Of the stand-ins.
        libraries: Names of the stand-ins for CUDA's runtime and TensorRT.
        major: TensorRT's.
    """

    program: Path
    tool: Path
    folder: Path
    libraries: tuple[str, str]
    major: int


def build_driver(folder: Path, include: Path, core: Path) -> Driver:
    """Compiles engine, driver and stand-ins with warnings as errors.

    Args:
        folder: Where to.
        include: Folder of NvInferRuntime.h.
        core: The library's static part.
    """
    major = _number(include / "NvInferVersion.h", r"(?:NV_TENSORRT|TRT)_MAJOR\w*")
    cuda = _number(CUDA_INCLUDE / "cuda_runtime_api.h", "CUDART_VERSION") // 1000
    libraries = (f"libcudart.so.{cuda}", f"libnvinfer.so.{major}")
    (folder / "filled.h").write_text(_filled(include))
    common = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    common += ["-isystem", include, "-isystem", CUDA_INCLUDE]
    for source, name in zip(("cudart", "nvinfer"), libraries, strict=True):
        options = ["-Wno-unused-parameter", "-Wno-deprecated-declarations", "-shared", "-fPIC"]
        options += ["-I", folder, "-o", folder / name]
        run(*common, *options, HERE / f"{source}.cpp")
    own = [SOURCE / "src" / name for name in _OWN]
    programs = {"drive": HERE / "drive.cpp", "refinestyle-engine": SOURCE / "tools" / "engine.cpp"}
    for name, source in programs.items():
        options = ['-DREFINESTYLE_VERSION="0"', "-I", SOURCE / "src"]
        run(*common, *options, source, *own, core, "-ldl", "-pthread", "-o", folder / name)
    return Driver(*(folder / name for name in programs), folder, libraries, major)


def _number(header: Path, name: str) -> int:
    found = re.search(rf"#define\s+{name}\s+(\d+)", header.read_text(errors="replace"))
    assert found, f"{header} does not define {name}"
    return int(found[1])


def _filled(include: Path) -> str:
    """Classes in which every function of an interface aborts."""
    text = "#include <cstdlib>\n"
    for name, header in _INTERFACES.items():
        space = "nvinfer1::apiv" if name.startswith("V") else "nvinfer1"
        source = re.sub(r"//[^\n]*|/\*.*?\*/", "", (include / header).read_text(), flags=re.S)
        (body,) = re.findall(rf"class {name}\b\s*:?[\w\s:]*\{{(.*?)\n\}};", source, flags=re.S)
        pure = re.findall(r"virtual\s([^~;{}]*?)=\s*0;", body)
        lines = [f"    {function.strip()} override {{ std::abort(); }}\n" for function in pure]
        base = f"struct Filled{name} : {name}"
        text += f"namespace {space} {{\n{base} {{\n{''.join(lines)}}};\n}}\n"
    return text
