"""rs-train directions import"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.directions.options import (
    generator_option,
    out_option,
    parse_rows,
    rows_option,
    two_numbers,
    write,
)

if TYPE_CHECKING:
    from rs_runtime.contracts.directions import Direction
    from rs_train.editing.public_files import PublicFile, Rows, Target

_file = click.Path(path_type=Path)


@dataclass(frozen=True)
class _Wanted:
    """What the options of an import ask for."""

    name: str | None
    entries: tuple[str, ...]
    channels: tuple[str, ...]
    component: int | None
    rows: "Rows | None"
    sigma: float | None
    scale: float


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=_file, metavar="FILE...")
@generator_option
@out_option
@click.option("--name", help="Of the direction.  [default: the file's or the entry's]")
@click.option(
    "--entry",
    "entries",
    multiple=True,
    metavar="NAME|ffhq|cars",
    help="GANSpace, StyleSpace: a published entry, or all of a data set; repeats.",
)
@click.option("--component", type=int, metavar="K", help="GANSpace: which component.")
@rows_option
@click.option("--sigma", type=float, metavar="X", help="GANSpace: the coordinate to reach.")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="LAYER,CHANNEL",
    help="StyleSpace: which channel; repeats.",
)
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    help="Vectors: how many of the vector a strength of 1 is.",
)
@click.option("--licence", default="not stated", show_default=True, help="Of the directions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    files: tuple[Path, ...],
    generator: Path,
    out: Path,
    name: str | None,
    entries: tuple[str, ...],
    component: int | None,
    rows: str | None,
    sigma: float | None,
    channels: tuple[str, ...],
    scale: float,
    licence: str,
    as_json: bool,
) -> None:
    """Convert public directions: InterFaceGAN and FSE .npy, pSp-family .pt, GANSpace components
    (.pt or .npz), StyleSpace statistics (.pkl).

    The files are read without executing anything in them.

    \b
    rs-train directions import age.pt --generator generator.safetensors --out edits
    rs-train directions import ffhq_pca.pt --entry ffhq --generator generator.safetensors
    rs-train directions import S_mean_std --channel 6,501 --name smile --generator g.safetensors
    """
    from rs_train.checkpoint import load_model
    from rs_train.editing.public_files import Target, read_public_file

    wanted = _Wanted(name, entries, channels, component, parse_rows(rows), sigma, scale)
    network = load_model(generator, expect="generator")
    made = []
    for file in files:
        public = read_public_file(file)
        target = Target(network.table, network.fingerprint(), licence, public.source)
        made += _directions(public, target, file.name.partition(".")[0], wanted)
    write(out, made, as_json)


def _directions(
    public: "PublicFile", target: "Target", stem: str, wanted: _Wanted
) -> "list[Direction]":
    from rs_train.editing import public_files as known

    content = public.content
    if wanted.entries:
        sets = known.published_sets(public)
        names = [name for entry in wanted.entries for name in sets.get(entry, (entry,))]
        return [known.entry_direction(public, target, entry) for entry in names]
    name = wanted.name or stem
    if isinstance(content, known.Vector):
        rows, scale = wanted.rows, wanted.scale
        return [known.vector_direction(content, target, name, rows=rows, scale=scale)]
    if isinstance(content, known.StyleDeviations) and wanted.channels:
        channels = [_parse_channel(text) for text in wanted.channels]
        return [known.style_direction(content, target, name, channels)]
    if isinstance(content, known.Components) and None not in (wanted.component, wanted.sigma):
        return [
            known.component_direction(
                content,
                target,
                name,
                component=wanted.component,
                rows=wanted.rows,
                sigma=wanted.sigma,
            )
        ]
    choice = (
        "--channel" if isinstance(content, known.StyleDeviations) else "--component and --sigma"
    )
    raise UsageError(
        f"{stem}: which direction of this file is not said",
        expected=f"{choice}, or --entry with {' or '.join(known.published_sets(public))}",
    )


def _parse_channel(text: str) -> tuple[int, int]:
    return two_numbers(text, ",", "--channel", "6,501")
