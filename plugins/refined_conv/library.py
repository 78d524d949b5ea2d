"""Build the kernel's shared library and call it through ctypes; for tests and measurements."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "launch.cu"
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
LAYOUTS = {"channels_first": 0, "channels_last": 1}
GEOMETRIES = {"point": 0, "box": 1, "up": 2}
STATUS = {1: "invalid argument", 2: "launch failed"}
# What nvcc 13 can build for: Turing to Blackwell; 87 is Orin, 110 Thor.
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)


class RefineEpilogue(ctypes.Structure):
    """`RsRefineEpilogue` of refine_epilogue.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("base", "residual", "P", "demodulation")),
        *((name, ctypes.c_void_p) for name in ("noise", "bias", "out")),
        *((name, ctypes.c_int32) for name in ("batch", "channels", "height", "width")),
        *((name, ctypes.c_int32) for name in ("rank", "noise_batch")),
        *((name, ctypes.c_int32) for name in ("dtype", "layout", "geometry")),
        *((name, ctypes.c_float) for name in ("slope", "gain")),
    )


def host_compiler() -> str | None:
    """Return the C++ compiler that `CXX` names, else g++; None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def cuda_compiler() -> str | None:
    """Return nvcc from PATH or CUDA's usual folder; None where there is none."""
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def build_host(target: Path, plugin_headers: Sequence[Path] = ()) -> None:
    """Compile the loop bodies for the host into the shared library `target`.

    Args:
        target: The library to write.
        plugin_headers: Include folders of TensorRT and CUDA; given, the TensorRT plugins are part
            of the library, running on host memory.
    """
    compiler = host_compiler()
    if compiler is None:
        raise FileNotFoundError("g++ (or what CXX names) is not installed")
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-x", "c++"]
    sources = [str(SOURCE)]
    if plugin_headers:
        sources.append(str(SOURCE.with_name("plugin.cpp")))
        flags += ["-Wno-deprecated-declarations", "-fvisibility=hidden"]
        flags += [f"-isystem{folder}" for folder in plugin_headers]
    _run([compiler, *flags, *sources, "-o", str(target)])


def build_cuda(target: Path, architectures: Sequence[int], defines: Sequence[str] = ()) -> None:
    """Compile for the GPUs of these architectures, with PTX of the newest for later ones."""
    compiler = cuda_compiler()
    if compiler is None:
        raise FileNotFoundError("nvcc is not installed")
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    newest = max(architectures)
    codes.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    flags = (
        "-std=c++17",
        "-O3",
        "-shared",
        "-Xcompiler",
        "-fPIC",
        "--split-compile=0",
        "--threads=0",
    )
    flags += tuple(f"-D{define}" for define in defines)
    _run([compiler, *flags, *codes, str(SOURCE), "-o", str(target)])


def build_ptx(target: Path, architecture: int) -> None:
    """Compile to PTX, which the driver of that GPU or any later one turns into machine code."""
    compiler = cuda_compiler()
    if compiler is None:
        raise FileNotFoundError("nvcc is not installed")
    flags = ("-std=c++17", "-O3", "-ptx", f"-arch=compute_{architecture}")
    _run([compiler, *flags, str(SOURCE), "-o", str(target)])


def load(path: Path) -> ctypes.CDLL:
    """Open a built library and declare its one function."""
    library = ctypes.CDLL(str(path))
    library.rs_refine_epilogue.argtypes = (ctypes.POINTER(RefineEpilogue), ctypes.c_void_p)
    library.rs_refine_epilogue.restype = ctypes.c_int
    return library


def call(library: ctypes.CDLL, arguments: RefineEpilogue, stream: int = 0) -> None:
    """Run the operator; raises RuntimeError with what the library's status says."""
    status = library.rs_refine_epilogue(ctypes.byref(arguments), stream)
    if status:
        raise RuntimeError(f"rs_refine_epilogue: {STATUS.get(status, status)}")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
