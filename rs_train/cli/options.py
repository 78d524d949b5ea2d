"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rs_runtime.contracts.errors import ResourceError, UsageError

run_option = click.option(
    "--run",
    "run_dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of logs, samples and checkpoints; an existing run goes on.",
)


def preset_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --preset NAME|FILE and repeatable --set section.key=value to a command."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Override one option of the preset; repeatable.",
        )(function)
        return click.option(
            "--preset",
            default=default,
            show_default=True,
            metavar="NAME|FILE.toml",
            help="Configuration of the run.",
        )(function)

    return decorate


def make_folder_of(out: Path) -> None:
    """Make the folder that a result will be written into, before hours are spent on the result.

    Raises:
        ResourceError: It cannot be made.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{out}: cannot be written",
            found=error.strerror or type(error).__name__,
            hint="choose another --out",
        ) from error


def shares(option: str, texts: tuple[str, ...]) -> dict[str, float]:
    """Parse THING[=WEIGHT] of a repeatable option; an existing path that holds a "=" is a path.

    Raises:
        UsageError: A weight is not a number.
    """
    weights: dict[str, float] = {}
    for text in texts:
        thing, separator, weight = text.rpartition("=")
        if not separator or Path(text).exists():
            weights[text] = 1.0
            continue
        try:
            weights[thing] = float(weight)
        except ValueError:
            raise UsageError(
                f"{option} {text}: {weight!r} is not a number", expected="a name or NAME=WEIGHT"
            ) from None
    return weights
