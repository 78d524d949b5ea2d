"""The errors a user may see, and the exit code of each.

Every message says what failed, what was found and what was expected, and what to do next. Texts
come partly from files, so whatever a terminal would obey (control characters, bidirectional marks,
lone surrogates) is escaped before it is shown.
"""

from typing import ClassVar


def escape_text(text: str) -> str:
    r"""Return `text` with every character that is not printable written as an escape.

    Args:
        text: Any string, for example a name read from a file.

    Returns:
        The same text where C0/C1 controls, line breaks, format characters (bidirectional marks,
        zero-width ones), private-use and surrogate code points appear as `\xNN`, `\uNNNN` or
        `\UNNNNNNNN`.
    """
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else _escape_char(ch) for ch in text)


def _escape_char(ch: str) -> str:
    code = ord(ch)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class RefineStyleError(Exception):
    """Base of every error that is reported to a user without a traceback.

    Attributes:
        exit_code: Exit status of a command that ends with this error.
        what: What failed, naming the file or value.
        found: What was found, empty when there is nothing to compare.
        expected: What was expected instead, may be empty.
        hint: The next command or step, may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, found: str = "", expected: str = "", hint: str = "") -> None:
        """Stores the parts of the message; `str(error)` joins and escapes them."""
        super().__init__(what)
        self.what = what
        self.found = found
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        """The message: what failed, found versus expected, what to do; one line each."""
        comparison = ", ".join(
            f"{label} {escape_text(text)}"
            for label, text in (("found", self.found), ("expected", self.expected))
            if text
        )
        lines = (escape_text(self.what), comparison, escape_text(self.hint))
        return "\n".join(line for line in lines if line)


class InternalError(RefineStyleError):
    """A bug of this project."""

    exit_code = 1


class UsageError(RefineStyleError):
    """A wrong option, a missing path or an unknown name."""

    exit_code = 2


class MalformedFileError(RefineStyleError):
    """An input file is damaged, incomplete or not what it claims to be."""

    exit_code = 3


class UnsafeFileError(RefineStyleError):
    """An input is refused because reading it would be unsafe: too large, or it carries code."""

    exit_code = 4


class IncompatibleError(RefineStyleError):
    """Sound files that do not fit together: another version, generator or engine."""

    exit_code = 5


class ResourceError(RefineStyleError):
    """Something the machine lacks: an extra, a device, memory, disk space, a writable folder."""

    exit_code = 6


class NumericsError(RefineStyleError):
    """NaN or infinity, divergence, or a parity check beyond its tolerance."""

    exit_code = 7


class PartialFailureError(RefineStyleError):
    """A part of a batch failed; the rest was written."""

    exit_code = 8
