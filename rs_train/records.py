"""Facts about how something was made."""

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def environment() -> dict[str, Any]:
    """Command line, versions and source commit, as JSON values."""
    program = Path(sys.argv[0]).name
    return {
        # Run as a module, the program's name is that of a file.
        "command": shlex.join(["rs-train" if program == "__main__.py" else program, *sys.argv[1:]]),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            "torch": metadata.version("torch"),
            "numpy": metadata.version("numpy"),
        },
        "threads": torch.get_num_threads(),
    }


def _commit() -> str:
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
