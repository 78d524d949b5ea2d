"""Errors: exit codes, the message's lines, and nothing that a terminal would obey."""

import pickle

import pytest

from rs_runtime.contracts import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("InternalError", 1),
        ("UsageError", 2),
        ("MalformedFileError", 3),
        ("UnsafeFileError", 4),
        ("IncompatibleError", 5),
        ("ResourceError", 6),
        ("NumericsError", 7),
        ("PartialFailureError", 8),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name)("it failed").exit_code == code


def test_message_lines() -> None:
    error = errors.UsageError(
        "no such domain", found="skech", expected="sketch", hint="rs-run info"
    )
    assert str(error) == "no such domain\nfound skech, expected sketch\nrs-run info"
    assert str(errors.UsageError("no such domain")) == "no such domain"
    assert str(errors.UsageError("size", expected="8")) == "size\nexpected 8"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\x0alines"),
        ("a\u202eb", "a\\u202eb"),
        ("lone \ud800", "lone \\ud800"),
        ("\U000e0001tag", "\\U000e0001tag"),
        ("Zoë's café ✓", "Zoë's café ✓"),
    ],
)
def test_control_characters_are_escaped(raw: str, shown: str) -> None:
    assert errors.escape_text(raw) == shown
    assert str(errors.UsageError(raw, found=raw, expected=raw, hint=raw)) == (
        f"{shown}\nfound {shown}, expected {shown}\n{shown}"
    )


def test_survives_being_sent_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.NumericsError("NaN", found="step 3", hint="lower lr")))
    assert (error.exit_code, str(error)) == (7, "NaN\nfound step 3\nlower lr")
