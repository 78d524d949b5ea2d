"""From what a user writes to token sets and directions: names in a bundle, paths, strengths."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from rs_runtime.contracts.directions import Direction
from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import TokenSet

TOKENS_SUFFIX = ".tokens"

Item = TypeVar("Item", TokenSet, Direction)

# "sketch", "sketch=0.7", a path, a token set; with a strength as a pair; several as a list.
Domain: TypeAlias = "str | os.PathLike[str] | TokenSet"
Domains: TypeAlias = "Domain | tuple[Domain, float] | Sequence[Domain | tuple[Domain, float]]"
# Likewise "smile", "smile=1.5", a path, a direction.
Edit: TypeAlias = "str | os.PathLike[str] | Direction"
Edits: TypeAlias = "Edit | tuple[Edit, float] | Sequence[Edit | tuple[Edit, float]]"


@dataclass(frozen=True)
class Request:
    """One domain or edit as it was asked for.

    Attributes:
        path: File to read, or None for one of the bundle.
        name: The bundle's name of it, or the file's stem.
        strength: Factor on what it changes.
    """

    path: Path | None
    name: str
    strength: float = 1.0

    @property
    def label(self) -> str:
        """Name and strength as they appear in file names and captions: "sketch", "sketch=0.7"."""
        return self.name if self.strength == 1 else f"{self.name}={self.strength:g}"


@dataclass(frozen=True)
class Choices(Generic[Item]):
    """The domains or the edits that a bundle offers, and how files of that kind are read.

    Attributes:
        noun: "domain" or "edit".
        kind: TokenSet or Direction.
        suffix: Of their files.
        known: The bundle's names.
        by_name: Gives one of the bundle.
        by_path: Reads a file.
    """

    noun: str
    kind: type[Item]
    suffix: str
    known: Sequence[str]
    by_name: Callable[[str], Item]
    by_path: Callable[[Path], Item]

    def parse(self, text: str) -> Request:
        """Reads "NAME", "PATH", "NAME=0.7" or "PATH=0.7".

        An existing file comes first; then the name, with or without suffix, among the bundle's.
        A last "=number" is the strength, unless a file has exactly that name.

        Raises:
            UsageError: Neither a file nor a name of the bundle, with the nearest names and the
                list; or a strength that is not a finite number.
        """
        found = self._find(text)
        if found is not None:
            return Request(*found)
        head, equals, tail = text.rpartition("=")
        if not equals:
            raise self._unknown(text)
        found = self._find(head)
        if found is None:
            raise self._unknown(head)
        return Request(*found, strength=_strength(tail, text, self.known))

    def resolve(self, asked: Any) -> list[tuple[Item, float]]:
        """Turns every accepted way to name domains or edits into (item, strength) pairs.

        Args:
            asked: None, one, or a list; see ``Domains`` and ``Edits``.

        Raises:
            UsageError: Not one of them.
        """
        if asked is None:
            return []
        if not isinstance(asked, list | tuple) or _is_pair(asked):
            asked = [asked]
        pairs = []
        for each in asked:
            item, factor = each if _is_pair(each) else (each, 1.0)
            if isinstance(item, self.kind):
                pairs.append((item, float(factor)))
            elif isinstance(item, str | os.PathLike):
                request = self.parse(os.fspath(item))
                read = self.by_path(request.path) if request.path else self.by_name(request.name)
                pairs.append((read, request.strength * float(factor)))
            else:
                raise UsageError(
                    f"this is not {_with_article(self.noun)}",
                    found=type(item).__name__,
                    expected=f"a name, a path, a {self.kind.__name__}, or a pair of one of them "
                    "and a strength",
                )
        return pairs

    def per_sample(self, asked: Any, count: int) -> list[list[tuple[Item, float]]]:
        """Resolves for each of ``count`` samples.

        Args:
            asked: As for ``resolve``, for all samples; or a list of lists, one for each.
            count: Number of samples N.

        Raises:
            UsageError: See ``resolve``; or a list of lists of another length.
        """
        if not (isinstance(asked, list) and any(isinstance(own, list) for own in asked)):
            return [self.resolve(asked)] * count
        if len(asked) != count:
            raise UsageError(
                f"each sample needs its own list of {self.noun}s",
                found=f"{len(asked)} lists",
                expected=str(count),
            )
        return [self.resolve(own) for own in asked]

    def _find(self, text: str) -> tuple[Path | None, str] | None:
        """The file or the bundle's own of that name; a folder called like one is no file."""
        name = text.removesuffix(self.suffix)
        is_there = "\0" not in text and os.path.lexists(text)
        if is_there and not (os.path.isdir(text) and name in self.known):
            path = Path(text)
            return path, path.name.removesuffix(self.suffix)
        return (None, name) if name in self.known else None

    def _unknown(self, text: str) -> UsageError:
        name = text.removesuffix(self.suffix)
        near = get_close_matches(Path(name).name.lower(), self.known)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        listed = ", ".join(self.known) or "none"
        return UsageError(
            f"{text!r} is neither a {self.suffix} file nor {_with_article(self.noun)} "
            "of the bundle",
            expected=f"a path, or one of: {listed}",
            hint=f"{hint}rs-run info lists the {self.noun}s".strip(),
        )


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], int | float)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _strength(text: str, whole: str, known: Sequence[str]) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not math.isfinite(strength):
        raise UsageError(
            f"{whole!r} has no strength that is a finite number",
            found=text,
            expected=f"NAME=NUMBER, for example {known[0] if known else 'NAME'}=0.7",
        )
    return strength
