"""rs-train directions import | fit | measure"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError, escape_text
from rs_train.cli.options import make_folder_of

if TYPE_CHECKING:
    from rs_runtime.contracts.directions import Direction
    from rs_train.editing.public_files import PublicFile, Rows, Target
    from rs_train.editing.samples import Samples
    from rs_train.generator import Generator

_file = click.Path(path_type=Path)
_SUFFIX = ".direction"

_generator_option = click.option(
    "--generator", type=_file, required=True, help="Checkpoint of the generator they are for."
)
_out_option = click.option(
    "--out",
    type=_file,
    default=Path(),
    help="Folder that NAME.direction is written to.  [default: this one]",
)
_rows_option = click.option(
    "--rows",
    metavar="FIRST:LAST",
    help="Rows of w_plus that change, the last left out.  [default: all]",
)


@click.group("directions")
def command() -> None:
    """Edit directions: import public ones, fit your own, measure what they do."""


# ------------------------------------------------------------------------------------------ import


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


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=_file, metavar="FILE...")
@_generator_option
@_out_option
@click.option("--name", help="Of the direction.  [default: the file's or the entry's]")
@click.option(
    "--entry",
    "entries",
    multiple=True,
    metavar="NAME|ffhq|cars",
    help="GANSpace, StyleSpace: a published entry, or all of a data set; repeats.",
)
@click.option("--component", type=int, metavar="K", help="GANSpace: which component.")
@_rows_option
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
def import_(
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

    wanted = _Wanted(name, entries, channels, component, _parse_rows(rows), sigma, scale)
    network = load_model(generator, expect="generator")
    made = []
    for file in files:
        public = read_public_file(file)
        target = Target(network.table, network.fingerprint(), licence, public.source)
        made += _directions(public, target, file.name.partition(".")[0], wanted)
    _write(out, made, as_json)


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


def _parse_rows(text: str | None) -> "Rows | None":
    return None if text is None else _two_numbers(text, ":", "--rows", "4:7")


def _parse_channel(text: str) -> tuple[int, int]:
    return _two_numbers(text, ",", "--channel", "6,501")


def _two_numbers(text: str, between: str, option: str, example: str) -> tuple[int, int]:
    first, _, second = text.partition(between)
    if not (first.isdecimal() and second.isdecimal()):
        raise UsageError(f"{option} {text}: not two numbers", expected=f"such as {example}")
    return int(first), int(second)


# --------------------------------------------------------------------------------------------- fit


@command.command("fit")
@click.option("--method", type=click.Choice(["interfacegan", "ganspace"]), required=True)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    required=True,
    help="Of the judge, as smile or glasses; repeats.",
)
@_generator_option
@click.option(
    "--judge",
    type=_file,
    help="What scores attributes, from rs-train judge metric; needed unless --samples is there.",
)
@_out_option
@_rows_option
@click.option("--keep", multiple=True, help="InterFaceGAN: an attribute to hold; repeats.")
@click.option(
    "--share",
    type=float,
    default=0.1,
    show_default=True,
    help="InterFaceGAN: part of the heads, at either end, that the plane has to part.",
)
@click.option(
    "--sigma",
    type=float,
    default=2.0,
    show_default=True,
    help="Standard deviations that a strength of 1 moves by (InterFaceGAN) or to (GANSpace).",
)
@click.option("--count", type=int, default=6000, show_default=True, help="Heads to draw.")
@click.option("--seed", type=int, default=5, show_default=True, help="Of the heads.")
@click.option(
    "--samples",
    "samples_file",
    type=_file,
    help="The scored heads are kept here, and taken from here if they are.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fit(
    method: str,
    attributes: tuple[str, ...],
    generator: Path,
    judge: Path | None,
    out: Path,
    rows: str | None,
    keep: tuple[str, ...],
    share: float,
    sigma: float,
    count: int,
    seed: int,
    samples_file: Path | None,
    as_json: bool,
) -> None:
    """Fit directions to random heads that a judge has scored.

    InterFaceGAN parts the heads with the most from those with the least of an attribute; GANSpace
    takes the principal component of the heads that follows the attribute best.

    Example: rs-train directions fit --method interfacegan --attribute smile --generator
    generator.safetensors --judge attributes.safetensors --out edits
    """
    from rs_train.checkpoint import load_model, read_record
    from rs_train.editing.public_files import Target

    target_rows = _parse_rows(rows)
    network = load_model(generator, expect="generator")
    samples = _samples(network, judge, count, seed, samples_file)
    licence = str(read_record(generator)["record"].get("licence", "not stated"))
    heads = f"{len(samples.w):,} random heads, seed {seed}"
    target = Target(network.table, network.fingerprint(), licence, f"{method} on {heads}")
    if method == "interfacegan":
        made = [_normal(samples, a, share, keep, sigma, target_rows, target) for a in attributes]
    else:
        made = [_component(samples, a, sigma, target_rows, target) for a in attributes]
    _write(out, made, as_json)


def _samples(
    generator: "Generator", judge: Path | None, count: int, seed: int, path: Path | None
) -> "Samples":
    from rs_train.checkpoint import load_model
    from rs_train.devices import pick_device
    from rs_train.editing.samples import draw_samples, read_samples, write_samples

    if path is not None and path.exists():
        return read_samples(path, generator)
    if judge is None:
        raise UsageError(
            "nothing says what attributes the heads have",
            hint="add --judge FILE; rs-train judge metric --preset demo_attributes trains one",
        )
    device = pick_device()
    network = load_model(judge, expect="metric").to(device)
    with click.progressbar(length=count, label="drawing heads") as bar:
        samples = draw_samples(generator.to(device), network, count, seed, bar.update)
    generator.cpu()
    if path is not None:
        make_folder_of(path)
        write_samples(path, samples, generator)
    return samples


def _normal(
    samples: "Samples",
    attribute: str,
    share: float,
    keep: Sequence[str],
    sigma: float,
    rows: "Rows | None",
    target: "Target",
) -> "Direction":
    from rs_train.editing.interfacegan import fit_normal
    from rs_train.editing.public_files import on_rows

    normal = fit_normal(samples, attribute, share=share, keep=keep)
    deviation = float((samples.w @ normal).std())
    held = f", {', '.join(keep)} held" if keep else ""
    target = replace(target, source=f"{target.source}: {attribute}{held}")
    return target.direction(
        "linear",
        attribute,
        f"{sigma:g} standard deviations of random heads along the normal",
        step=on_rows(sigma * deviation * normal[None], target.table, rows),
    )


def _component(
    samples: "Samples", attribute: str, sigma: float, rows: "Rows | None", target: "Target"
) -> "Direction":
    from rs_train.editing.ganspace import component_for, fit_components
    from rs_train.editing.public_files import component_direction

    components = fit_components(samples)
    component, correlation = component_for(samples, components, attribute)
    target = replace(target, source=f"{target.source}: {attribute}, correlation {correlation:+.2f}")
    signed = sigma if correlation >= 0 else -sigma
    return component_direction(
        components, target, attribute, component=component, rows=rows, sigma=signed
    )


# ----------------------------------------------------------------------------------------- measure

_ABOUT = """\
{count} rendered portraits that no training has seen are inverted by {bundle}, edited at the
strengths -1 and 1, and scored by a judge of other portraits than those that the directions were
fitted with. `less` and `more` are the changes of the edit's own attribute, in standard deviations
over portraits; `beside` is the other attribute that changes most; `identity` the cosine to the
unedited reconstruction, {strangers:.2f} between different people; `sight` the correlation of the
judge's scores with the truth."""


@command.command("measure")
@click.argument("files", nargs=-1, required=True, type=_file, metavar="FILE.direction...")
@click.option("--bundle", type=_file, help="What inverts and draws.  [default: the demo bundle]")
@click.option("--judge", type=_file, required=True, help="What scores: not the judge of the fit.")
@click.option(
    "--data", type=_file, required=True, help="Held-out portraits, a folder of rs-train render."
)
@click.option(
    "--out", type=_file, required=True, help="Folder that edits.md and edits.json are written to."
)
def measure(
    files: tuple[Path, ...], bundle: Path | None, judge: Path, data: Path, out: Path
) -> None:
    """Measure what edits do to held-out portraits; each is named as its attribute.

    Example: rs-train directions measure edits/*.direction --judge other_attributes.safetensors
    --data data/validation --out results
    """
    from rs_runtime.pipeline import load
    from rs_train.checkpoint import load_model
    from rs_train.editing.measure import measure_edits
    from rs_train.perceptual.labelled import LabelledPortraits
    from rs_train.tables.page import Result, write_result

    runtime = load(bundle)
    directions = [runtime.load_direction(file) for file in files]
    portraits = LabelledPortraits([data], runtime.table.resolution)
    network = load_model(judge, expect="metric")
    rows = measure_edits(runtime, directions, portraits, network)
    about = _ABOUT.format(
        count=len(portraits),
        bundle=bundle or "the demo bundle",
        strangers=rows[0].strangers,
    )
    lines = ["| edit | kind | less | more | beside | identity | sight |", "|" + "---|" * 7]
    lines += [
        f"| {row.edit} | {row.kind} | {row.less:+.2f} | {row.more:+.2f} | "
        f"{row.side} {row.side_change:.2f} | {row.identity:.3f} | {row.sight:.2f} |"
        for row in rows
    ]
    result = Result(title="Edits", about=about, rows=rows, table="\n".join(lines))
    for path in write_result(out, "edits", result):
        click.echo(path)


# ------------------------------------------------------------------------------------------ results


def _write(out: Path, made: "Sequence[Direction]", as_json: bool) -> None:
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
