"""rs-train render"""

import os
from pathlib import Path

import click

from rs_train.portraits.domains import DOMAINS, domain_style
from rs_train.portraits.folder import ANY

_DOMAIN = f"""\
One of {", ".join(DOMAINS)}; a composed look, MEDIUM-PALETTE-LINE-LIGHT, such as
chalk-sepia-ink-dramatic; or {ANY}: each picture in a composed look drawn at random."""


def _known(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value != ANY:
        domain_style(value)
    return value


@click.command("render")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--size", type=click.IntRange(32, 1024), default=128, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--domain", callback=_known, default="photo", show_default=True, help=_DOMAIN)
@click.option("--extras/--no-extras", default=False, help="Add out-of-domain things.")
@click.option(
    "--people", type=click.IntRange(1), help="This many persons take turns; default: all differ."
)
@click.option("--masks", is_flag=True, help="Write masks/NUMBER.npz beside the pictures.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Processes; 0 for as many as there are cores.",
)
def command(
    out: Path,
    count: int,
    size: int,
    seed: int,
    domain: str,
    extras: bool,
    people: int | None,
    masks: bool,
    workers: int,
) -> None:
    """Render portraits with labels, landmarks and captions.

    The same seed gives the same scenes in every domain. Rerun the command to finish a render that
    was stopped.

    Example: rs-train render --out portraits --count 12000 --seed 1
    """
    from rs_train.portraits.folder import RenderSettings, render_folder

    settings = RenderSettings(count, size, seed, domain, extras, masks, people)
    with click.progressbar(length=count, label=f"{domain} {size}x{size}") as bar:
        for _ in render_folder(out, settings, workers or os.cpu_count()):
            bar.update(1)
    click.echo(str(out))
