"""The library's verdict on files, from the program in check.cpp, beside Python's."""

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rs_runtime.contracts.errors import RefineStyleError

TIMEOUT = 600


class Checker:
    """Asks the program; each call is one process, so that a crash names its batch."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def ask(self, requests: Iterable[str]) -> list[dict[str, Any]]:
        """Returns the answer to each request; a sanitizer's report is a failure."""
        lines = "".join(f"{request}\n" for request in requests)
        done = subprocess.run(
            [str(self.program)],
            input=lines,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr[-6000:]
        return [json.loads(line) for line in done.stdout.splitlines()]


def python_status(read: Callable[[], Any]) -> int:
    """Returns the exit code that Python's reader ends with, 0 when it accepts."""
    try:
        read()
    except RefineStyleError as error:
        return error.exit_code
    return 0


def write_all(folder: Path, contents: Sequence[bytes], suffix: str = "") -> list[Path]:
    """Writes each content to a file of its own."""
    paths = [folder / f"{i:05}{suffix}" for i in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    return paths
