"""Compiles the native engine's library with the C++ compiler of this machine.

    python rs_runtime/native/build_library.py

`pip install` does it by itself where a compiler is there; without one the package installs all the
same, and the provider "native" says how to get it. The library goes beside this file.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object

FOLDER = Path(__file__).resolve().parent
LIBRARY = FOLDER / f"librefinestyle_native{'.dylib' if sys.platform == 'darwin' else '.so'}"
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
_KERNEL_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma")
# Instruction set -> floats of a vector, and what tells the compiler; rs_runtime/cpp/CMakeLists.txt
# has the same for the C++ library.
_X86 = {"avx512": (16, (*_AVX512, "-mprefer-vector-width=512")), "avx2": (8, ("-mavx2", "-mfma"))}
_EVERYWHERE = {"baseline": (4, ())}


class CannotBuildError(RuntimeError):
    """There is no compiler that builds the library, and why."""


def build(library: Path = LIBRARY) -> Path:
    """Compiles the library unless it is newer than all of its sources.

    Args:
        library: Where it goes.

    Raises:
        CannotBuildError: No compiler, or it fails.
    """
    sources = sorted([*FOLDER.glob("*.cpp"), *FOLDER.glob("*.h"), Path(__file__)])
    if library.exists() and library.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return library
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(_compiler(), Path(folder))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        # Written aside and renamed: a process that uses the old file keeps it.
        aside = library.with_name(f".{library.name}.{os.getpid()}")
        objects = [command[-1] for command in commands]
        _run([_compiler(), "-shared", "-pthread", *objects, "-o", str(aside)])
        aside.replace(library)
    return library


def _compiler() -> str:
    if sys.platform == "win32":
        raise CannotBuildError("the library has not been built on Windows yet")
    for name in (os.environ.get("CXX"), *_COMPILERS):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise CannotBuildError("there is no C++ compiler")


def _commands(compiler: str, folder: Path) -> list[list[str]]:
    """One compilation each; the last argument is the object file."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    sets = _EVERYWHERE | (_X86 if is_x86 else {})
    commands = []
    for name, (lanes, flags) in sets.items():
        own = (*_KERNEL_FLAGS, *flags, f"-DRS_ISA={name}", f"-DRS_LANES={lanes}")
        to = str(folder / f"kernels_{name}.o")
        commands.append([compiler, *_FLAGS, *own, "-c", str(FOLDER / "kernels.cpp"), "-o", to])
    for source in sorted(FOLDER.glob("*.cpp")):
        if source.name != "kernels.cpp":
            to = str(folder / f"{source.stem}.o")
            commands.append([compiler, *_FLAGS, "-c", str(source), "-o", to])
    return commands


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"{' '.join(command)}\n{done.stderr[-2000:]}")


class NativeBuildHook(BuildHookInterface):
    """Lets hatchling build the library along with a wheel or an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds it, and says of what system the wheel is; or warns and leaves it out."""
        try:
            library = build()
        except CannotBuildError as error:
            self.app.display_warning(f"without the native engine: {error}")
            return
        build_data["artifacts"].append(f"/rs_runtime/native/{library.name}")
        build_data["pure_python"] = False
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{system}"


if __name__ == "__main__":
    print(build())
