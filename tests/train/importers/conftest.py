import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent / "harness.py"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def run_harness():
    """Run the harness in one of its modes over a folder for canaries."""

    def run(mode: str, folder: Path, *more: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, str(HARNESS), mode, str(folder), *more],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def results(run_harness, tmp_path_factory):
    """What the importer made of every hostile file, and the folder where canaries would be."""
    folder = tmp_path_factory.mktemp("canaries")
    return json.loads(run_harness("read", folder)), folder
