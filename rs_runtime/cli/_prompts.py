"""Options of verbs that make domains of texts and pictures."""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rs_runtime.contracts.errors import UsageError

if TYPE_CHECKING:
    from rs_runtime.choices import Request
    from rs_runtime.contracts.tokens import TokenSet
    from rs_runtime.pipeline import Runtime

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class PromptOptions:
    """Texts and pictures that a command makes domains of, each with a strength behind a last "=".

    Attributes:
        prompts: Texts.
        styles: Paths of pictures.
    """

    prompts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many domains are to be made."""
        return len(self.prompts) + len(self.styles)

    def one_by_one(self) -> list[PromptOptions]:
        """Each of them alone."""
        texts = [PromptOptions(prompts=(own,)) for own in self.prompts]
        return texts + [PromptOptions(styles=(own,)) for own in self.styles]

    def domains(self, runtime: Runtime, tell: Callable[[str], None]) -> Iterator[MadeDomain]:
        """Makes the domains, those of the texts first.

        Args:
            runtime: Has the graphs.
            tell: Is given warnings for people, a line each.

        Raises:
            RefineStyleError: See ``Runtime.prompt`` and ``Runtime.style``.
        """
        from rs_runtime.choices import Request

        for text in self.prompts:
            prompt, strength = _split(text)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                tokens = runtime.prompt(prompt)
            for warning in caught:
                tell(f"warning: {warning.message}")
            yield MadeDomain(tokens, Request(None, tokens.name, strength))
        for text in self.styles:
            path, strength = (text, 1.0) if os.path.lexists(text) else _split(text)
            tokens = runtime.style(path)
            yield MadeDomain(tokens, Request(Path(path), tokens.name, strength))

    def require_one(self, save_domain: str | None) -> None:
        """Raises UsageError where a domain is to be kept and there is not exactly one."""
        if save_domain is not None and len(self) != 1:
            raise UsageError(
                "--save-domain keeps the domain of one text or picture",
                found=f"{len(self)} of them",
                hint="name one with --prompt or --style",
            )


@dataclass(frozen=True)
class MadeDomain:
    """A domain that a command made.

    Attributes:
        tokens: The domain at strength 1.
        request: How it was asked for.
    """

    tokens: TokenSet
    request: Request

    def save(self, path: str) -> None:
        """Writes the domain's file, called as the file is.

        Raises:
            ResourceError: The place cannot be written; what was there is unchanged.
        """
        from rs_runtime.choices import TOKENS_SUFFIX
        from rs_runtime.contracts.tokens import clean_name, write_token_set

        name = clean_name(Path(path).name.removesuffix(TOKENS_SUFFIX))
        write_token_set(path, replace(self.tokens, name=name))


def prompt_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of ``PromptOptions``; the command takes them as its argument `prompts`."""

    @functools.wraps(command)
    def with_prompts(texts: tuple[str, ...], styles: tuple[str, ...], **others: Any) -> Any:
        return command(prompts=PromptOptions(texts, styles), **others)

    for option in reversed(
        (
            click.option(
                "--prompt",
                "texts",
                multiple=True,
                metavar="TEXT[=STRENGTH]",
                help="A domain made of words, by a bundle that can; may be repeated.",
            ),
            click.option(
                "--style",
                "styles",
                multiple=True,
                metavar="PHOTO[=STRENGTH]",
                help="A domain made of the look of a picture; may be repeated.",
            ),
        )
    ):
        with_prompts = option(with_prompts)
    return with_prompts


def save_domain_option(command: Command) -> Command:
    """Adds ``--save-domain``."""
    return click.option(
        "--save-domain",
        metavar="FILE",
        help="Keep the domain of --prompt or --style as a token set for --domain.",
    )(command)


def _split(text: str) -> tuple[str, float]:
    """A text and its strength; "=" before anything but a finite number belongs to the text."""
    head, _, tail = text.rpartition("=")
    try:
        strength = float(tail)
    except ValueError:
        return text, 1.0
    return (head, strength) if head and math.isfinite(strength) else (text, 1.0)
