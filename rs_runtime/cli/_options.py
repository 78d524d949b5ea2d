"""Options and habits that the verbs of ``rs-run`` share."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rs_runtime.cli._prompts import MadeDomain, PromptOptions
from rs_runtime.contracts.errors import ResourceError, UsageError, escape_text

if TYPE_CHECKING:
    from rs_runtime.contracts.directions import Direction
    from rs_runtime.contracts.tokens import TokenSet
    from rs_runtime.pipeline import Runtime

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class RuntimeOptions:
    """Which bundle a command runs, and how.

    Attributes:
        bundle: Its folder; the demo bundle when None.
        provider: A provider's name, or "auto".
        threads: CPU threads; the engine's default when None.
        allow_foreign: Accept token sets and directions of another generator.
        as_json: Write results for programs.
    """

    bundle: str | None
    provider: str
    threads: int | None
    allow_foreign: bool
    as_json: bool

    def load(self) -> Runtime:
        """Opens the bundle; see ``rs_runtime.load`` for what it refuses."""
        from rs_runtime.pipeline import load

        return load(
            self.bundle,
            provider=self.provider,
            threads=self.threads,
            allow_foreign=self.allow_foreign,
        )


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of ``RuntimeOptions``; the command takes them as its argument `options`."""

    @functools.wraps(command)
    def with_options(
        bundle: str | None,
        provider: str,
        threads: int | None,
        allow_foreign: bool,
        as_json: bool,
        **others: Any,
    ) -> Any:
        options = RuntimeOptions(bundle, provider, threads, allow_foreign, as_json)
        return command(options=options, **others)

    for option in reversed(
        (
            click.option(
                "--bundle", metavar="DIR", help="The bundle to run.  [default: the demo bundle]"
            ),
            click.option(
                "--provider",
                default="auto",
                show_default=True,
                metavar="NAME",
                help="auto, cpu, openvino, openvino-bf16, cuda, ...; a named one never falls back.",
            ),
            click.option("--threads", type=int, metavar="N", help="CPU threads."),
            click.option(
                "--allow-foreign",
                is_flag=True,
                help="Try token sets and directions of another generator.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Write results as JSON."),
        )
    ):
        with_options = option(with_options)
    return with_options


def domain_option(command: Command) -> Command:
    """Adds ``--domain``."""
    return click.option(
        "--domain",
        "-d",
        "domains",
        multiple=True,
        metavar="NAME[=STRENGTH]",
        help="A .tokens file, or a domain of the bundle; may be repeated, they add up.",
    )(command)


def edit_option(command: Command) -> Command:
    """Adds ``--edit``."""
    return click.option(
        "--edit",
        "-e",
        "edits",
        multiple=True,
        metavar="NAME[=STRENGTH]",
        help="A .direction file, or an edit of the bundle; may be repeated, they add up.",
    )(command)


def calibrate_option(command: Command) -> Command:
    """Adds ``--calibrate``."""
    return click.option(
        "--calibrate",
        is_flag=True,
        help="Fit the domains to the styles of the bundle's encoder, by its calibration.",
    )(command)


def out_option(what: str) -> Callable[[Command], Command]:
    """Adds ``--out``; ``what`` says where results go without it."""
    return click.option(
        "--out", "-o", metavar="FILE|DIR", help=f"Where results go.  [default: {what}]"
    )


@dataclass(frozen=True)
class Chosen:
    """The domains and edits of one command.

    Attributes:
        domains: Token sets and strengths.
        edits: Directions and strengths.
        label: How file names and captions call them: "sketch", "sketch+oil=0.5", "smile=1.5+oil";
            may be empty.
        files: Files that they were read from, those of the bundle left out.
        made: Those of the domains that were made of texts and pictures.
    """

    domains: list[tuple[TokenSet, float]]
    edits: list[tuple[Direction, float]]
    label: str
    files: list[Path]
    made: list[MadeDomain]


def choose(
    runtime: Runtime,
    domains: Sequence[str],
    edits: Sequence[str] = (),
    *,
    prompts: PromptOptions | None = None,
    calibrate: bool = False,
) -> Chosen:
    """Reads token sets and directions once, so that a bad one ends the command before any work.

    Domains that are to be made of texts and pictures are made here, too.

    Raises:
        UsageError: Neither a file nor a name of the bundle.
        MalformedFileError: A damaged file.
        IncompatibleError: A file for another generator, or `calibrate` with a bundle without it.
    """
    requests = [runtime.edit_choices.parse(text) for text in edits]
    requests += [runtime.domain_choices.parse(text) for text in domains]
    made = [] if prompts is None else list(prompts.domains(runtime, tell))
    requests += [own.request for own in made]
    asked = [*domains, *((own.tokens, own.request.strength) for own in made)]
    return Chosen(
        domains=runtime.mixes(asked, 1, calibrate=calibrate)[0],
        edits=runtime.edit_lists(list(edits), 1)[0],
        label="+".join(request.label for request in requests),
        files=[own.path for own in requests if own.path is not None],
        made=made,
    )


def place_outputs(out: str | None, names: Sequence[Path], *, several: bool) -> list[Path]:
    """Where each result goes; makes the folder that ``--out`` names.

    Args:
        out: What the user gave: a file, a folder (one that exists, or with a slash at its end),
            or None.
        names: The default output of each input, beside it.
        several: Whether the command may write more than one picture, so ``out`` is a folder.

    Raises:
        UsageError: A file where a folder is needed, a suffix that no picture has, or two inputs
            that would be written to one name.
        ResourceError: The folder cannot be made.
    """
    from rs_runtime.image_io import OUTPUT_SUFFIXES

    if out is None:
        outputs = list(names)
    elif several or out.endswith((os.sep, "/")) or os.path.isdir(out):
        folder = Path(out)
        if os.path.lexists(folder) and not folder.is_dir():
            raise UsageError(f"--out {out}: a file is there", expected="a folder for the results")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"--out {out}: the folder cannot be made",
                found=error.strerror or type(error).__name__,
                hint="choose a folder that you may write to",
            ) from error
        outputs = [folder / name.name for name in names]
    elif Path(out).suffix.lower() not in OUTPUT_SUFFIXES:
        raise UsageError(
            f"--out {out}: not the name of a picture",
            expected=f"a name with {', '.join(OUTPUT_SUFFIXES)}, or a folder with / at its end",
        )
    else:
        outputs = [Path(out)]
    twice = sorted({os.fspath(path) for path in outputs if outputs.count(path) > 1})
    if twice:
        raise UsageError(
            f"two results would be written to {twice[0]}",
            hint="rename one of the inputs, or run the command for each",
        )
    return outputs


def tell(prog_line: str) -> None:
    """Writes one line for people to stderr, with control characters escaped."""
    click.echo(f"rs-run: {escape_text(prog_line)}", err=True)


def tell_provider(runtime: Runtime) -> None:
    """Says in one line which provider "auto" chose; nothing for a named one."""
    if runtime.provider_note:
        tell(runtime.provider_note)


def write_json(value: Any) -> None:
    """Writes a result for programs to stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))
