"""JSON without surprises: one canonical writing, and a reader that refuses what JSON leaves open.

Python's reader accepts duplicate keys, NaN and unlimited nesting; two readers may then see two
different files. Everything this project stores as JSON is written by `canonical_json` and read by
`parse_json`.
"""

import json
import math
from typing import Any, NoReturn

from rs_runtime.contracts.errors import MalformedFileError

MAX_DEPTH = 32


def canonical_json(value: Any) -> bytes:
    r"""Return the one byte string that stands for `value`.

    Keys are sorted, there is no white space, and all text is ASCII (`\uXXXX` escapes).

    Args:
        value: Mappings with string keys, sequences, strings, ints, finite floats, booleans, None.

    Returns:
        ASCII bytes; equal values give equal bytes on every platform.

    Raises:
        ValueError: A float is not finite.
        TypeError: A value has no JSON form.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def parse_json(data: bytes, what: str) -> Any:
    """Parse JSON text strictly.

    Args:
        data: UTF-8 text.
        what: Names the text in messages, for example `"face.tokens: header"`.

    Returns:
        dict, list, str, int, float, bool or None.

    Raises:
        MalformedFileError: Not UTF-8, not JSON, a key twice in one object, NaN or an infinity, a
            number too large for a double, half a surrogate pair, or nesting deeper than
            `MAX_DEPTH`.
    """
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        value = _DECODER.decode(text)
        if "\\u" in text:  # such an escape may stand for half a character
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeDecodeError as error:
        reason = f"bytes that are not UTF-8 at position {error.start}"
        raise MalformedFileError(f"{what}: not valid JSON", found=reason) from error
    except UnicodeEncodeError as error:
        raise MalformedFileError(
            f"{what}: not valid JSON", found="half a surrogate pair", expected="whole characters"
        ) from error
    except ValueError as error:
        raise MalformedFileError(f"{what}: not valid JSON", found=str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice[:80]!r} twice in one object")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number too large for a double")
    return number


def _integer(text: str) -> int:
    _finite(text)
    return int(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"the constant {name}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_no_constant,
)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the recursive parser sees it; brackets in strings don't count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    in_string = False
    escaped = False
    for ch in text:
        if in_string:
            if escaped:
                escaped = False
            elif ch == "\\":
                escaped = True
            elif ch == '"':
                in_string = False
        elif ch == '"':
            in_string = True
        elif ch in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nesting deeper than {MAX_DEPTH}")
        elif ch in "]}":
            depth -= 1
