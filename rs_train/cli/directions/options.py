"""What import and fit have in common: options, and the writing of the directions they make."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError, escape_text
from rs_train.cli.options import make_folder_of

if TYPE_CHECKING:
    from rs_runtime.contracts.directions import Direction
    from rs_train.editing.public_files import Rows

_file = click.Path(path_type=Path)
_SUFFIX = ".direction"

generator_option = click.option(
    "--generator", type=_file, required=True, help="Checkpoint of the generator they are for."
)
out_option = click.option(
    "--out",
    type=_file,
    default=Path(),
    help="Folder that NAME.direction is written to.  [default: this one]",
)
rows_option = click.option(
    "--rows",
    metavar="FIRST:LAST",
    help="Rows of w_plus that change, the last left out.  [default: all]",
)


def parse_rows(text: str | None) -> "Rows | None":
    """Read FIRST:LAST; UsageError for anything else."""
    return None if text is None else two_numbers(text, ":", "--rows", "4:7")


def two_numbers(text: str, between: str, option: str, example: str) -> tuple[int, int]:
    """Read two numbers out of an option's value; UsageError for anything else."""
    first, _, second = text.partition(between)
    if not (first.isdecimal() and second.isdecimal()):
        raise UsageError(f"{option} {text}: not two numbers", expected=f"such as {example}")
    return int(first), int(second)


def write(out: Path, made: "Sequence[Direction]", as_json: bool) -> None:
    """Write directions into a folder, and tell what was written.

    Args:
        out: The folder.
        made: The directions.
        as_json: Tell it as JSON.

    Raises:
        UsageError: Two of them have one name.
        ResourceError: The folder cannot be written.
    """
    from rs_runtime.contracts.directions import write_direction

    twice = {own.name for own in made if [each.name for each in made].count(own.name) > 1}
    if twice:
        raise UsageError(f"two directions would be called {min(twice)}", hint="import one by one")
    report = []
    for direction in made:
        path = out / f"{direction.name}{_SUFFIX}"
        make_folder_of(path)
        write_direction(path, direction)
        facts = {"path": str(path), "kind": direction.kind, "unit": direction.unit}
        report.append({**facts, "source": direction.source, "licence": direction.licence})
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for facts in report:
        line = f"wrote {facts['path']}: {facts['kind']}, strength 1 is {facts['unit']}"
        click.echo(escape_text(line))
