"""Prints src/contracts/unicode_ranges.inc: which characters are printable, which are letters.

Token sets and manifests allow printable text, and letters and digits in names, as Python's
`str.isprintable` and `str.isalnum` say; the library holds the same tables, so that both readers
take the same files. They are those of one Unicode version, whatever newer ones Python learns.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterator

VERSION = "14.0.0"


def ranges(holds: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Yields the first and last code point of every run of characters for which `holds`."""
    first = None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and holds(chr(code))
        if inside and first is None:
            first = code
        elif not inside and first is not None:
            yield first, code - 1
            first = None


def table(name: str, holds: Callable[[str], bool]) -> str:
    """Returns the definition of one table."""
    lines = [f"constexpr Range {name}[] = {{"]
    for first, last in ranges(holds):
        item = f"{{0x{first:x}, 0x{last:x}}},"
        if lines[-1].startswith("    ") and len(lines[-1]) + len(item) < 100:
            lines[-1] += f" {item}"
        else:
            lines.append(f"    {item}")
    return "\n".join([*lines, "};\n"])


def generate() -> str:
    """Returns the whole file."""
    head = f"// Written by tools/unicode_ranges.py from Unicode {VERSION}.\n"
    return head + table("kPrintable", str.isprintable) + table("kAlphanumeric", str.isalnum)


if __name__ == "__main__":
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python knows Unicode {unicodedata.unidata_version}, not {VERSION}")
    sys.stdout.write(generate())
