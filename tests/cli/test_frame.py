"""The frame that all commands share: verbs on demand, one message and one exit code."""

import subprocess
import sys

import click
import pytest

from rs_runtime.cli import LazyGroup, Verb, run
from rs_runtime.contracts.errors import IncompatibleError, NumericsError


@click.command()
@click.argument("how")
def fail(how: str) -> int:
    """Ends in every way there is."""
    if how == "answer":
        return 3
    raise {
        "bug": ValueError("first line\nsecond line \x1b[31m"),
        "memory": MemoryError(),
        "package": ModuleNotFoundError("No module named 'nosuch'", name="nosuch"),
        "own package": ModuleNotFoundError("No module named 'rs_train.x'", name="rs_train.x"),
        "denied": PermissionError(13, "Permission denied", "/secret/place/file.png"),
        "numbers": NumericsError("it diverged", found="nan", expected="a number", hint="lower it"),
        "versions": IncompatibleError("too old"),
        "usage": click.UsageError("two things at once"),
        "abort": click.Abort(),
        "interrupt": KeyboardInterrupt(),
        "exit": click.exceptions.Exit(5),
    }[how]


group = LazyGroup(
    "rs-test",
    verbs={
        "fail": Verb(f"{__name__}:fail", "Fails."),
        "far": Verb("nosuch.module:command", "Needs a package that is not there."),
    },
    help="A test.",
    version="1.2",
    extra="train",
)


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[fail.callback.__module__])

    def call(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-test", args)
        return ending.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("bug", 1, "rs-test: this is a fault of the program\nfound ValueError: first line\nrepeat"),
        ("own package", 1, "rs-test: this is a fault of the program\nfound ModuleNotFoundError"),
        ("memory", 6, "rs-test: out of memory"),
        ("package", 6, 'rs-test: the package nosuch is not installed\npip install ".[train]"'),
        ("denied", 6, "rs-test: cannot read or write file.png\nfound Permission denied"),
        ("numbers", 7, "rs-test: it diverged\nfound nan, expected a number\nlower it\n"),
        ("versions", 5, "rs-test: too old\n"),
        ("usage", 2, "Usage: rs-test"),
        ("abort", 130, "rs-test: interrupted"),
        ("interrupt", 130, "\nrs-test: interrupted"),
        ("exit", 5, ""),
        ("answer", 0, ""),
    ],
)
def test_every_ending_has_its_code_and_message(call, how, code, message):
    found, err = call("fail", how)
    assert found == code and err.startswith(message)
    assert "Traceback" not in err and "\x1b" not in err and "/secret" not in err
    found, err = call("fail", how, "--debug")
    assert found == code and ("Traceback" in err) == (how not in ("exit", "answer"))


def test_a_package_that_is_missing_hurts_only_its_verb(call):
    code, err = call("far")
    assert code == 6 and "nosuch" in err and '".[train]"' in err
    assert call("--help")[0] == 0


def test_verbs_are_suggested(call):
    code, err = call("fial")
    assert code == 2 and "Did you mean fail?" in err and "Verbs: fail, far." in err


def test_help_lists_verbs_without_importing_them(capsys):
    with pytest.raises(SystemExit) as ending:
        run(group, "rs-test", ["--help"])
    out = capsys.readouterr().out
    assert ending.value.code == 0 and "Needs a package that is not there." in out


def test_a_single_command_takes_debug_too(capsys):
    with pytest.raises(SystemExit) as ending:
        run(fail, "rs-fail", ["bug", "--debug"])
    assert ending.value.code == 1 and "Traceback" in capsys.readouterr().err


def test_without_an_engine_the_install_line_is_shown():
    script = (
        "import sys; sys.modules['onnxruntime'] = sys.modules['openvino'] = None\n"
        "from rs_runtime.engines.base import EngineOptions\n"
        "from rs_runtime.engines.select import EngineSelection\n"
        "from rs_runtime.contracts.errors import ResourceError\n"
        "try:\n    EngineSelection(EngineOptions(), lambda provider: True)\n"
        "except ResourceError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "ONNX Runtime is not installed" in done.stdout and 'pip install ".[cpu]"' in done.stdout
