"""Checks of values that came out of JSON: the type, the range, and no field too many or too few.

Every function takes the place of the value, such as `roles.synthesis.variants[0].file`, for its
message and raises MalformedFileError when the check fails.
"""

import math
import re
from collections.abc import Collection
from typing import Any

from rs_runtime.contracts.errors import MalformedFileError, UnsafeFileError

MAX_TEXT = 4096

_IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+-]{0,98}[A-Za-z0-9_+-])?")
_MAX_DEPTH = 8
_HASH = re.compile(r"[0-9a-f]{64}")


def check_object(value: Any, where: str, names: Collection[str]) -> dict[str, Any]:
    """Return `value`, an object with exactly the fields `names`."""
    fields = check_mapping(value, where)
    missing = [name for name in names if name not in fields]
    unknown = [name for name in fields if name not in names]
    if missing:
        raise MalformedFileError(f"{where}: missing field {missing[0]}")
    if unknown:
        raise MalformedFileError(f"{where}: unknown field {unknown[0][:80]}")
    return fields


def check_mapping(value: Any, where: str) -> dict[str, Any]:
    """Return `value`, an object with any fields."""
    return _typed(value, where, dict, "an object")


def check_list(value: Any, where: str, *, least: int = 0) -> list[Any]:
    """Return `value`, a list of at least `least` items."""
    items = _typed(value, where, list, "a list")
    if len(items) < least:
        raise MalformedFileError(
            f"{where}: too few items", found=str(len(items)), expected=f"{least}"
        )
    return items


def check_text(value: Any, where: str) -> str:
    """Return `value`, printable text of at most `MAX_TEXT` characters."""
    text = _typed(value, where, str, "a string")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise MalformedFileError(
            f"{where}: not plain text",
            found=f"{len(text)} characters" if text.isprintable() else "control characters",
            expected=f"at most {MAX_TEXT} printable characters",
        )
    return text


def check_identifier(value: Any, where: str) -> str:
    """Return `value`, 1 to 64 ASCII letters, digits and `_ . + -`, the first not a sign."""
    text = _typed(value, where, str, "a string")
    if not _IDENTIFIER.fullmatch(text):
        raise MalformedFileError(
            f"{where}: not an identifier",
            found=text[:80],
            expected="1 to 64 of letters, digits, _ . + -",
        )
    return text


def check_hash(value: Any, where: str) -> str:
    """Return `value`, a SHA-256 in lower-case hexadecimal digits."""
    text = _typed(value, where, str, "a string")
    if not _HASH.fullmatch(text):
        raise MalformedFileError(
            f"{where}: not a SHA-256", found=text[:80], expected="64 hexadecimal digits"
        )
    return text


def check_path(path: Any, where: str) -> str:
    """Return `path`, a relative POSIX path that stays inside and means the same on every system.

    Raises:
        UnsafeFileError: It is absolute, climbs with `..`, or uses another system's separators.
        MalformedFileError: It is not text, or has other characters than letters, digits, `_ . + -`.
    """
    text = check_text(path, where)
    segments = text.split("/")
    if text.startswith("/") or ".." in segments or any(ch in text for ch in "\\:"):
        raise UnsafeFileError(f"{where}: a path that leads out of the bundle", found=text[:120])
    if len(segments) > _MAX_DEPTH or not all(_SEGMENT.fullmatch(part) for part in segments):
        raise MalformedFileError(
            f"{where}: not a path for a bundle",
            found=text[:120],
            expected="names of letters, digits, _ . + - joined by /",
        )
    return text


def check_integer(value: Any, where: str, low: int, high: int) -> int:
    """Return `value`, an integer from `low` to `high`."""
    number = _typed(value, where, int, "an integer")
    if not low <= number <= high:
        raise MalformedFileError(
            f"{where}: out of range", found=str(number)[:40], expected=f"{low} to {high}"
        )
    return number


def check_measure(value: Any, where: str) -> float:
    """Return `value`, a finite number that is not negative."""
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise MalformedFileError(
            f"{where}: not a measure", found=repr(value)[:40], expected="a number from 0"
        )
    return float(value)


def _typed(value: Any, where: str, kind: type, expected: str) -> Any:
    if type(value) is not kind:  # a bool is an int to isinstance
        raise MalformedFileError(
            f"{where}: wrong type", found=type(value).__name__, expected=expected
        )
    return value
