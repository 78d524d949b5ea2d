"""What an installation costs and says of itself."""

import re
import resource
import subprocess
import sys
import tomllib

import rs_runtime
from tests.readme.pages import ROOT

_HEAVY = ("torch", "onnx", "onnxruntime", "cv2")


def test_importing_the_runtime_loads_nothing_heavy():
    code = f"import sys, rs_runtime; print([n for n in {_HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick():
    spent = []
    for _ in range(3):
        before = _child_seconds()
        command = [sys.executable, "-m", "rs_runtime.cli", "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        spent.append(_child_seconds() - before)
    assert "invert" in done.stdout
    assert min(spent) <= 0.4


def test_the_version_is_one_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if "version" in project["project"].get("dynamic", ()):
        assert project["tool"]["hatch"]["version"]["path"] == "rs_runtime/__init__.py"
    else:
        assert project["project"]["version"] == rs_runtime.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## +(\S+)", changelog, flags=re.M)
    assert newest is not None and newest[1] == rs_runtime.__version__


def test_the_changelog_names_the_file_formats():
    from rs_runtime.contracts.manifest import SCHEMA_VERSION
    from rs_runtime.contracts.token_rules import TOKENS
    from rs_train.checkpoint import VERSION as MODEL_VERSION

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    major = TOKENS.version.split(".")[0]
    line = f"token set {major}, bundle manifest {SCHEMA_VERSION}, model checkpoint {MODEL_VERSION}"
    assert line in changelog
