"""Where the built library of the TensorRT plugins, and its kernel's PTX, are looked for."""

import os
import sys
from pathlib import Path

from rs_runtime.contracts.errors import UsageError

VARIABLE = "REFINESTYLE_PLUGIN"
NAME = "refined_conv_plugin.dll" if os.name == "nt" else "librefined_conv_plugin.so"
PTX = "refined_conv.ptx"
# Of a clone; what `cmake -B build && cmake --build build` writes there.
_BUILD = Path(__file__).resolve().parents[1] / "plugins" / "refined_conv" / "build"


def find_plugin_library() -> Path | None:
    """Return the library that the environment variable names, else the first that is found.

    The places are the `lib` folder of this Python environment, where `cmake --install build
    --prefix ENVIRONMENT` puts it, then the build folder of a clone.

    Returns:
        Its path; None where it was not built.

    Raises:
        UsageError: The variable names no file.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise UsageError(f"{VARIABLE} names no file", found=named, expected=f"path of {NAME}")
        return Path(named)
    folders = (Path(sys.prefix) / ("bin" if os.name == "nt" else "lib"), _BUILD)
    return next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)


def find_ptx(library: Path) -> Path | None:
    """Return the kernel's PTX, which building and installing put beside the plugin library.

    Engines do not need it: the library has machine code. It is for tools that hand kernels to the
    driver themselves.

    Args:
        library: What `find_plugin_library` found.

    Returns:
        Its path; None where it was not built.
    """
    path = library.with_name(PTX)
    return path if path.is_file() else None
