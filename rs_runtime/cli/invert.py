"""``rs-run invert``: photos to restyled pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.cli._faces import FaceOptions, face_options
from rs_runtime.cli._options import (
    Chosen,
    RuntimeOptions,
    calibrate_option,
    choose,
    domain_option,
    edit_option,
    out_option,
    place_outputs,
    runtime_options,
    tell,
    tell_provider,
    write_json,
)
from rs_runtime.cli._prompts import PromptOptions, prompt_options, save_domain_option
from rs_runtime.contracts.errors import PartialFailureError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rs_runtime.face_finders import FaceFinder
    from rs_runtime.inversion import Inversion
    from rs_runtime.pipeline import Runtime

_REFINED_CAPTION = {
    "two_stage": "two-stage",
    "one_stage": "one-stage",
    "feature_shift": "with feature map",
}


@dataclass
class _Result:
    """What became of one photo, as ``--json`` shows it."""

    input: str
    output: str | None = None
    strip: str | None = None
    tokens: str | None = None
    provider: str | None = None
    reconstruction_error: float | None = None
    faces: list[list[list[float]]] | None = None
    warning: str | None = None
    failure: str | None = None
    exit_code: int = 0


@click.command("invert")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO|FOLDER...")
@domain_option
@prompt_options
@edit_option
@out_option("<stem>.<domain>.png beside each photo, or in a folder <domain> inside a folder")
@face_options
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
    help="Factor on the photo's own tokens or feature map.",
)
@calibrate_option
@click.option(
    "--save-tokens",
    metavar="FILE",
    help="Keep the inverted photo as a token set; rs-run synth --tokens restyles it.",
)
@save_domain_option
@runtime_options
def command(
    photos: tuple[str, ...],
    domains: tuple[str, ...],
    prompts: PromptOptions,
    edits: tuple[str, ...],
    out: str | None,
    faces: FaceOptions,
    strip: bool,
    image_strength: float,
    calibrate: bool,
    save_tokens: str | None,
    save_domain: str | None,
    options: RuntimeOptions,
) -> None:
    """Invert photos, or those of a folder, and draw them: edited, in a domain, or as they are.

    \b
    rs-run invert photo.jpg --domain sketch.tokens
    rs-run invert *.jpg -d sketch=0.6 -d oil=0.4 --out results/
    rs-run invert photo.jpg --prompt "a charcoal drawing of a face"
    rs-run invert photo.jpg --edit smile=1.5 --domain sketch
    rs-run invert folder/ --domain sketch
    rs-run invert party.jpg --align bundle --face all --paste-back --domain sketch
    """
    from rs_runtime.image_io import refuse_overwriting

    prompts.require_one(save_domain)
    runtime = options.load()
    chosen = choose(runtime, domains, edits, prompts=prompts, calibrate=calibrate)
    label = chosen.label or "inverted"
    files, names = _files(photos, label)
    outputs = place_outputs(out, names, several=len(files) > 1 or files != list(photos))
    if out is None:
        for folder in {path.parent for path in outputs}:
            folder.mkdir(exist_ok=True)
    if save_tokens is not None:
        if len(files) > 1:
            raise UsageError("--save-tokens keeps one photo", found=f"{len(files)} photos")
        if faces.face == "all":
            raise UsageError("--save-tokens keeps one face", hint="choose it with --face N")
        runtime.require_token_sets()
        refuse_overwriting(Path(save_tokens), [*files, *chosen.files])
    finder = faces.open(runtime)
    if save_domain is not None:
        refuse_overwriting(Path(save_domain), [*files, *chosen.files])
        chosen.made[0].save(save_domain)
    work = _Work(runtime, chosen, files, faces, finder, strip, image_strength, save_tokens)
    results = _run(work, [_Result(own, str(to)) for own, to in zip(files, outputs, strict=True)])
    if options.as_json:
        write_json([asdict(result) for result in results])
    else:
        _report(results, runtime)
        if save_domain is not None:
            click.echo(f"wrote {save_domain}")
    _require_success(results)


def _files(photos: Sequence[str], label: str) -> tuple[list[str], list[Path]]:
    """The photos, those of a folder among them, and where each one's result goes by default.

    Results of a folder's photos go into a folder inside it, so that a second run does not take
    them for photos.
    """
    from rs_runtime.image_io import OUTPUT_SUFFIXES

    files: list[str] = []
    names: list[Path] = []
    for photo in photos:
        path, name = Path(photo), f"{Path(photo).stem}.{label}.png"
        if not path.is_dir():
            files.append(photo)
            names.append(path.with_name(name))
            continue
        inside = sorted(
            own
            for own in path.iterdir()
            if own.suffix.lower() in OUTPUT_SUFFIXES and own.is_file() and own.name[0] != "."
        )
        if not inside:
            raise UsageError(
                f"{photo}: no pictures in this folder", expected=", ".join(OUTPUT_SUFFIXES)
            )
        files += map(str, inside)
        for own in inside:
            result = path / label / f"{own.stem}.{label}.png"
            # Photos of one stem and different suffixes keep both.
            twin = result in names
            names.append(result.with_name(f"{own.name}.{label}.png") if twin else result)
    return files, names


@dataclass(frozen=True)
class _Work:
    """What is the same for every photo."""

    runtime: Runtime
    chosen: Chosen
    photos: Sequence[str]
    faces: FaceOptions
    finder: FaceFinder | None
    strip: bool
    image_strength: float
    save_tokens: str | None


def _run(work: _Work, results: list[_Result]) -> list[_Result]:
    """Inverts the photos; of several, a failure of one is kept for the end."""
    from rs_runtime.image_io import load_picture
    from rs_runtime.overlap import overlapped

    outcomes = overlapped(
        results,
        lambda result: load_picture(result.input),
        lambda result, photo: _invert(work, photo, result),
        lambda result, pictures: _write(work, result, pictures),
    )
    hidden = len(results) == 1 or not sys.stderr.isatty()
    with click.progressbar(length=len(results), file=sys.stderr, hidden=hidden) as bar:
        for result, error in outcomes:
            if error is not None:
                if len(results) == 1:
                    raise error
                result.output = result.strip = result.tokens = None
                result.failure, result.exit_code = str(error), error.exit_code
            bar.update(1)
    return results


@dataclass(frozen=True)
class _Drawn:
    """What is to be written for one photo."""

    inversion: Inversion
    picture: NDArray[np.uint8]
    strip: NDArray[np.uint8] | None


def _invert(work: _Work, photo: NDArray[np.uint8], result: _Result) -> _Drawn:
    cropped = work.faces.crops(work.runtime, work.finder, photo, result.input)
    inversion = work.runtime.invert(cropped, check=False)
    picture = inversion.synthesize(
        work.chosen.domains, edits=work.chosen.edits, image_strength=work.image_strength
    )
    result.provider = work.runtime.provider
    result.reconstruction_error = float(inversion.error.max())
    result.faces = [
        crop.face.points.astype(float).round(1).tolist() for crop in inversion.crops if crop
    ] or None
    result.warning = "; ".join(_warnings(inversion)) or None
    strip = _strip(work, inversion, picture) if work.strip else None
    whole = inversion.paste_back(picture) if work.faces.paste_back else picture
    return _Drawn(inversion, whole, strip)


def _warnings(inversion: Inversion) -> list[str]:
    """What is to be said of the faces, then of their reconstructions."""
    notes = [note for crop in inversion.crops if crop for note in crop.notes]
    for number, warning in enumerate(inversion.warnings, 1):
        if warning is not None:
            notes.append(warning if inversion.single else f"face {number}: {warning}")
    return notes


def _write(work: _Work, result: _Result, drawn: _Drawn) -> None:
    from rs_runtime.image_io import write_picture

    output = Path(result.output)
    result.output = str(write_picture(output, drawn.picture, inputs=work.photos))
    if drawn.strip is not None:
        beside = output.with_name(f"{output.stem}.strip.png")
        result.strip = str(write_picture(beside, drawn.strip, inputs=work.photos))
    if work.save_tokens is not None:
        result.tokens = str(drawn.inversion.save_tokens(work.save_tokens))


def _strip(work: _Work, inversion: Inversion, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The steps side by side, a row for each face."""
    from rs_runtime.diagnostics.sheet import sheet

    panels = [("input", inversion.input), ("first inversion", inversion.first_inversion)]
    refined = _REFINED_CAPTION.get(work.runtime.manifest.model)
    if refined is not None:
        panels.append((refined, inversion.reconstruction))
    if work.chosen.label or work.image_strength != 1:
        own = "" if work.image_strength == 1 else f"image={work.image_strength:g} "
        panels.append((f"{own}{work.chosen.label}".strip(), picture))
    if inversion.single:
        return sheet([panels])
    return sheet(
        [[(caption, batch[n]) for caption, batch in panels] for n in range(len(inversion))]
    )


def _report(results: Sequence[_Result], runtime: Runtime) -> None:
    """Says once which provider was chosen, and what each photo became."""
    if any(result.failure is None for result in results):
        tell_provider(runtime)
    for result in results:
        if result.warning is not None and result.failure is None:
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
