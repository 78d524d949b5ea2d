"""rs-train directions fit"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.directions.options import (
    generator_option,
    out_option,
    parse_rows,
    rows_option,
    write,
)
from rs_train.cli.options import make_folder_of

if TYPE_CHECKING:
    from rs_runtime.contracts.directions import Direction
    from rs_train.editing.public_files import Rows, Target
    from rs_train.editing.samples import Samples
    from rs_train.generator import Generator

_file = click.Path(path_type=Path)


@click.command("fit")
@click.option("--method", type=click.Choice(["interfacegan", "ganspace"]), required=True)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    required=True,
    help="Of the judge, as smile or glasses; repeats.",
)
@generator_option
@click.option(
    "--judge",
    type=_file,
    help="What scores attributes, from rs-train judge metric; needed unless --samples is there.",
)
@out_option
@rows_option
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
def command(
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

    target_rows = parse_rows(rows)
    network = load_model(generator, expect="generator")
    samples = _samples(network, judge, count, seed, samples_file)
    licence = str(read_record(generator)["record"].get("licence", "not stated"))
    heads = f"{len(samples.w):,} random heads, seed {seed}"
    target = Target(network.table, network.fingerprint(), licence, f"{method} on {heads}")
    if method == "interfacegan":
        made = [_normal(samples, a, share, keep, sigma, target_rows, target) for a in attributes]
    else:
        made = [_component(samples, a, sigma, target_rows, target) for a in attributes]
    write(out, made, as_json)


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
