"""``rs-run compare``: one photo in many domains and strengths, on one labelled sheet."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.cli._options import (
    Chosen,
    RuntimeOptions,
    calibrate_option,
    choose,
    out_option,
    place_outputs,
    runtime_options,
    tell,
    tell_provider,
    write_json,
)
from rs_runtime.cli._prompts import PromptOptions, prompt_options
from rs_runtime.contracts.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rs_runtime.inversion import Inversion
    from rs_runtime.pipeline import Runtime

_ALL = "all"


@click.command("compare")
@click.argument("photo")
@click.option(
    "--domains",
    metavar="all|NAME,...",
    help="Which domains, a row each; names of the bundle or .tokens files.  "
    "[default: all, none beside --prompt and --style]",
)
@prompt_options
@click.option(
    "--strengths",
    default="0.25,0.5,0.75,1,1.25",
    show_default=True,
    metavar="X,...",
    help="The strengths in each row.",
)
@calibrate_option
@out_option("<stem>.compare.png beside the photo")
@runtime_options
def command(
    photo: str,
    domains: str | None,
    prompts: PromptOptions,
    strengths: str,
    calibrate: bool,
    out: str | None,
    options: RuntimeOptions,
) -> None:
    """Draw a photo in many domains and strengths on one labelled sheet.

    The photo is inverted once; only the synthesis runs again for each picture.

    \b
    rs-run compare photo.jpg --domains all
    rs-run compare photo.jpg --domains sketch,oil --strengths 0.5,1,2
    rs-run compare photo.jpg --prompt "a pencil drawing of a face" --style drawing.png
    """
    from rs_runtime.diagnostics.sheet import sheet
    from rs_runtime.image_io import refuse_overwriting, write_picture

    sweep = parse_strengths(strengths)
    runtime = options.load()
    chosen = _chosen(runtime, domains, prompts, calibrate)
    name = Path(photo).with_name(f"{Path(photo).stem}.compare.png")
    output = place_outputs(out, [name], several=False)[0]
    refuse_overwriting(output, [photo, *(path for own in chosen for path in own.files)])
    inversion = runtime.invert(photo, check=False)
    rows = [[("input", inversion.input), ("inverted", inversion.reconstruction)]]
    hidden = not sys.stderr.isatty()
    with click.progressbar(chosen, file=sys.stderr, hidden=hidden) as bar:
        rows += [_row(inversion, own, sweep) for own in bar]
    write_picture(output, sheet(rows))
    if options.as_json:
        labels = [own.label for own in chosen]
        facts = {"input": photo, "output": str(output), "domains": labels, "strengths": sweep}
        write_json(facts | {"provider": runtime.provider})
        return
    tell_provider(runtime)
    if inversion.warnings[0] is not None:
        tell(f"warning: {photo}: {inversion.warnings[0]}")
    click.echo(f"wrote {output}")


def parse_strengths(text: str) -> list[float]:
    """Reads "0.5,1,2".

    Raises:
        UsageError: Not a list of finite numbers.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise UsageError(
            f"--strengths {text}: not a list of numbers", expected="for example 0.5,1,1.5"
        )
    return numbers


def _chosen(
    runtime: Runtime, text: str | None, prompts: PromptOptions, calibrate: bool
) -> list[Chosen]:
    if text is None:
        text = "" if prompts else _ALL
    names = runtime.domains if text == _ALL else [part.strip() for part in text.split(",") if text]
    if not names and not prompts:
        raise UsageError(
            "the bundle has no domains", hint="name token sets: --domains a.tokens,b.tokens"
        )
    rows = [choose(runtime, [name], calibrate=calibrate) for name in names]
    rows += [choose(runtime, [], prompts=own, calibrate=calibrate) for own in prompts.one_by_one()]
    return rows


def _row(
    inversion: Inversion, own: Chosen, sweep: list[float]
) -> list[tuple[str, NDArray[np.uint8]]]:
    return [
        (
            f"{own.label} x {strength:g}",
            inversion.synthesize([(tokens, strength * base) for tokens, base in own.domains]),
        )
        for strength in sweep
    ]
