"""rs-train directions measure"""

from pathlib import Path

import click

_file = click.Path(path_type=Path)
_ABOUT = """\
{count} rendered portraits that no training has seen are inverted by {bundle}, edited at the
strengths -1 and 1, and scored by a judge of other portraits than those that the directions were
fitted with. `less` and `more` are the changes of the edit's own attribute, in standard deviations
over portraits; `beside` is the other attribute that changes most; `identity` the cosine to the
unedited reconstruction, {strangers:.2f} between different people; `sight` the correlation of the
judge's scores with the truth."""


@click.command("measure")
@click.argument("files", nargs=-1, required=True, type=_file, metavar="FILE.direction...")
@click.option("--bundle", type=_file, help="What inverts and draws.  [default: the demo bundle]")
@click.option("--judge", type=_file, required=True, help="What scores: not the judge of the fit.")
@click.option(
    "--data", type=_file, required=True, help="Held-out portraits, a folder of rs-train render."
)
@click.option(
    "--out", type=_file, required=True, help="Folder that edits.md and edits.json are written to."
)
def command(
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
