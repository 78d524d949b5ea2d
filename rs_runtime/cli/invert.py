"""``rs-run invert``: photos to restyled pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.cli._options import (
    ChosenDomains,
    choose_domains,
    domain_option,
    out_option,
    place_outputs,
    runtime_options,
    tell,
    write_json,
)
from rs_runtime.contracts.errors import PartialFailureError, RefineStyleError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rs_runtime.inversion import Inversion
    from rs_runtime.pipeline import Runtime

_REFINED_CAPTION = {"two_stage": "two-stage", "one_stage": "one-stage"}


@dataclass
class _Result:
    """What became of one photo, as ``--json`` shows it."""

    input: str
    output: str | None = None
    strip: str | None = None
    tokens: str | None = None
    provider: str | None = None
    reconstruction_error: float | None = None
    warning: str | None = None
    failure: str | None = None
    exit_code: int = 0


@click.command("invert")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@domain_option
@out_option("<stem>.<domain>.png beside each photo")
@click.option(
    "--strip/--no-strip",
    default=True,
    show_default=True,
    help="Also write <result>.strip.png: input, first inversion, refined, restyled.",
)
@click.option(
    "--image-strength",
    type=float,
    default=1.0,
    show_default=True,
    metavar="X",
    help="Factor on the photo's own tokens.",
)
@click.option(
    "--save-tokens",
    metavar="FILE",
    help="Keep the inverted photo as a token set; rs-run synth --tokens restyles it.",
)
@runtime_options
def command(
    photos: tuple[str, ...],
    domains: tuple[str, ...],
    out: str | None,
    strip: bool,
    image_strength: float,
    save_tokens: str | None,
    bundle: str | None,
    provider: str,
    threads: int | None,
    allow_foreign: bool,
    as_json: bool,
) -> None:
    """Invert photos and draw them again, in a domain or as they are.

    \b
    rs-run invert photo.jpg --domain sketch.tokens
    rs-run invert *.jpg -d sketch=0.6 -d oil=0.4 --out results/
    """
    from rs_runtime.image_io import refuse_overwriting
    from rs_runtime.pipeline import load

    if save_tokens is not None and len(photos) > 1:
        raise UsageError("--save-tokens keeps one photo", found=f"{len(photos)} photos")
    runtime = load(bundle, provider=provider, threads=threads, allow_foreign=allow_foreign)
    chosen = choose_domains(runtime, domains)
    suffix = f".{chosen.label or 'inverted'}.png"
    beside = [Path(photo).with_name(Path(photo).stem + suffix) for photo in photos]
    outputs = place_outputs(out, beside, several=len(photos) > 1)
    if save_tokens is not None:
        refuse_overwriting(Path(save_tokens), [*photos, *chosen.files])
    work = _Work(runtime, chosen, photos, strip, image_strength, save_tokens)
    results = []
    for photo, output in zip(photos, outputs, strict=True):
        results.append(_attempt(work, photo, output))
        if not as_json:
            _report(results, runtime)
    if as_json:
        write_json([asdict(result) for result in results])
    _require_success(results)


@dataclass(frozen=True)
class _Work:
    """What is the same for every photo."""

    runtime: Runtime
    chosen: ChosenDomains
    photos: Sequence[str]
    strip: bool
    image_strength: float
    save_tokens: str | None


def _attempt(work: _Work, photo: str, output: Path) -> _Result:
    """Inverts one photo; of several, a failure of one is kept for the end."""
    result = _Result(photo)
    try:
        _invert(work, photo, output, result)
    except RefineStyleError as error:
        if len(work.photos) == 1:
            raise
        result.failure, result.exit_code = str(error), error.exit_code
    return result


def _invert(work: _Work, photo: str, output: Path, result: _Result) -> None:
    from rs_runtime.image_io import refuse_overwriting, write_picture

    strip_path = output.with_name(f"{output.stem}.strip.png")
    for path in (output, strip_path):
        refuse_overwriting(path, work.photos)
    inversion = work.runtime.invert(photo, check=False)
    picture = inversion.synthesize(work.chosen.pairs, image_strength=work.image_strength)
    result.provider = work.runtime.provider
    result.reconstruction_error = float(inversion.error)
    result.warning = inversion.warnings[0]
    result.output = str(write_picture(output, picture))
    if work.strip:
        result.strip = str(write_picture(strip_path, _strip(work, inversion, picture)))
    if work.save_tokens is not None:
        result.tokens = str(inversion.save_tokens(work.save_tokens))


def _strip(work: _Work, inversion: Inversion, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from rs_runtime.diagnostics.sheet import strip

    panels = [("input", inversion.input), ("first inversion", inversion.first_inversion)]
    refined = _REFINED_CAPTION.get(work.runtime.manifest.model)
    if refined is not None:
        panels.append((refined, inversion.reconstruction))
    if work.chosen.label or work.image_strength != 1:
        own = "" if work.image_strength == 1 else f"image={work.image_strength:g} "
        panels.append((f"{own}{work.chosen.label}".strip(), picture))
    return strip(panels)


def _report(results: list[_Result], runtime: Runtime) -> None:
    """Says what the last photo became, and once which provider was chosen."""
    result = results[-1]
    if result.failure is not None:
        return
    if sum(each.failure is None for each in results) == 1 and runtime.provider_note:
        tell(runtime.provider_note)
    if result.warning is not None:
        tell(f"warning: {result.input}: {result.warning}")
    for path in (result.output, result.strip, result.tokens):
        if path is not None:
            click.echo(f"wrote {path}")


def _require_success(results: list[_Result]) -> None:
    failures = [result for result in results if result.failure is not None]
    if not failures:
        return
    width = max(len(result.input) for result in failures)
    for result in failures:
        first, *rest = result.failure.splitlines()
        detail = "; ".join([first.removeprefix(f"{result.input}: "), *rest])
        tell(f"{result.input:<{width}}  exit {result.exit_code}  {detail}")
    raise PartialFailureError(
        f"{len(failures)} of {len(results)} photos failed; the others were written"
        if len(failures) < len(results)
        else f"all {len(results)} photos failed"
    )
