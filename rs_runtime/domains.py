"""From what a user writes to token sets: names in a bundle, paths, strengths."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import TokenSet

SUFFIX = ".tokens"

# "sketch", "sketch=0.7", a path, a token set; with a strength as a pair; several as a list.
Domain: TypeAlias = "str | os.PathLike[str] | TokenSet"
Domains: TypeAlias = "Domain | tuple[Domain, float] | Sequence[Domain | tuple[Domain, float]]"


@dataclass(frozen=True)
class DomainRequest:
    """One domain as it was asked for.

    Attributes:
        path: File to read, or None for a domain of the bundle.
        name: The bundle's name of it, or the file's stem.
        strength: Factor on its dW, offsets and modulation changes.
    """

    path: Path | None
    name: str
    strength: float = 1.0

    @property
    def label(self) -> str:
        """Name and strength as they appear in file names and captions: "sketch", "sketch=0.7"."""
        return self.name if self.strength == 1 else f"{self.name}={self.strength:g}"


def parse_domain(text: str, known: Sequence[str]) -> DomainRequest:
    """Reads "NAME", "PATH", "NAME=0.7" or "PATH=0.7".

    An existing file comes first; then the name, with or without ".tokens", among the bundle's
    domains. A last "=number" is the strength, unless a file has exactly that name.

    Args:
        text: What the user wrote.
        known: The bundle's domains.

    Raises:
        UsageError: Neither a file nor a domain, with the nearest names and the list; or a strength
            that is not a finite number.
    """
    found = _find(text, known)
    if found is not None:
        return DomainRequest(*found)
    head, equals, tail = text.rpartition("=")
    if not equals:
        raise _unknown(text, known)
    found = _find(head, known)
    if found is None:
        raise _unknown(head, known)
    return DomainRequest(*found, strength=_strength(tail, text))


def resolve_domains(
    domains: Domains | None,
    known: Sequence[str],
    by_name: Callable[[str], TokenSet],
    by_path: Callable[[Path], TokenSet],
) -> list[tuple[TokenSet, float]]:
    """Turns every accepted way to name domains into (token set, strength) pairs.

    Args:
        domains: None, one domain, or a list of domains; see ``Domains``.
        known: The bundle's domains.
        by_name: Gives a domain of the bundle.
        by_path: Reads a token-set file.

    Raises:
        UsageError: Not a domain.
    """
    if domains is None:
        return []
    if not isinstance(domains, list | tuple) or _is_pair(domains):
        domains = [domains]
    pairs = []
    for item in domains:
        domain, factor = item if _is_pair(item) else (item, 1.0)
        if isinstance(domain, TokenSet):
            pairs.append((domain, float(factor)))
        elif isinstance(domain, str | os.PathLike):
            request = parse_domain(os.fspath(domain), known)
            token_set = by_path(request.path) if request.path else by_name(request.name)
            pairs.append((token_set, request.strength * float(factor)))
        else:
            raise UsageError(
                "this is not a domain",
                found=type(domain).__name__,
                expected="a name, a path, a TokenSet, or a pair of one of them and a strength",
            )
    return pairs


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], int | float)


def _find(text: str, known: Sequence[str]) -> tuple[Path | None, str] | None:
    """The file or the bundle's domain of that name; a folder called like a domain is no file."""
    name = text.removesuffix(SUFFIX)
    if "\0" not in text and os.path.lexists(text) and not (os.path.isdir(text) and name in known):
        path = Path(text)
        return path, path.name.removesuffix(SUFFIX)
    return (None, name) if name in known else None


def _strength(text: str, whole: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not math.isfinite(strength):
        raise UsageError(
            f"{whole!r} has no strength that is a finite number",
            found=text,
            expected="NAME=NUMBER, for example sketch=0.7",
        )
    return strength


def _unknown(text: str, known: Sequence[str]) -> UsageError:
    name = text.removesuffix(SUFFIX)
    near = get_close_matches(Path(name).name.lower(), known)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    listed = ", ".join(known) or "none"
    return UsageError(
        f"{text!r} is neither a token-set file nor a domain of the bundle",
        expected=f"a path, or one of: {listed}",
        hint=f"{hint}rs-run info lists the domains".strip(),
    )
