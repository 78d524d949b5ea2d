"""rs-train domain"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.options import make_folder_of, preset_options, run_option

if TYPE_CHECKING:
    from torch import Tensor

    from rs_train.data import ImageFolder
    from rs_train.domains.codes import Codes
    from rs_train.domains.description import DomainDescription
    from rs_train.domains.pool import HeadPool, PoolConfig
    from rs_train.generator import Generator
    from rs_train.perceptual.arcface import ArcFace
    from rs_train.tasks.domain import DomainRun, DomainTask

_file = click.Path(path_type=Path)


@click.command("domain")
@click.option("--prompt", help='Text of the domain, "a toned pencil sketch of a person".')
@click.option("--source-prompt", default="a photo of a person", show_default=True)
@click.option("--references", type=_file, help="Folder of pictures in the domain, unpaired.")
@click.option("--paired", is_flag=True, help="The references show --portraits, in their order.")
@click.option("--portraits", type=_file, help="Folder of portraits to invert and train on.")
@click.option("--base-inverter", "base_path", type=_file, help="Inverts --portraits.")
@click.option("--refiner", "refiner_path", type=_file, help="Adds the portraits' own tokens.")
@click.option("--codes", "codes_path", type=_file, help="Keeps --portraits inverted, for reuse.")
@click.option("--name", help="Name of the domain; the stem of --out by default.")
@click.option("--generator", "generator_path", type=_file, required=True)
@click.option("--clip", "clip_source", help="CLIP checkpoint, or open_clip:NAME[:WEIGHTS].")
@click.option("--arcface", "arcface_path", type=_file, help="Network of the feature losses.")
@click.option("--out", type=_file, required=True, help="The token set to write, .tokens.")
@run_option
@preset_options("demo_domain")
def command(
    prompt: str | None,
    source_prompt: str,
    references: Path | None,
    paired: bool,
    portraits: Path | None,
    base_path: Path | None,
    refiner_path: Path | None,
    codes_path: Path | None,
    name: str | None,
    generator_path: Path,
    clip_source: str | None,
    arcface_path: Path | None,
    out: Path,
    run_dir: Path,
    preset: str,
    overrides: tuple[str, ...],
) -> None:
    """Adapt a generator to a domain: token residuals from a prompt, from references, or both.

    Rerun the same command to go on where a run was stopped.

    Example: rs-train domain --prompt "a pencil sketch of a person" --references sketches
    --generator generator.safetensors --clip clip.safetensors --run runs/sketch --out sketch.tokens
    """
    _check(prompt, clip_source, references, paired, portraits or codes_path)
    make_folder_of(out)
    from rs_train.checkpoint import load_model
    from rs_train.config import load
    from rs_train.data import ImageFolder
    from rs_train.devices import pick_device
    from rs_train.domains.description import describe
    from rs_train.loop import run
    from rs_train.tasks.domain import DomainRun

    config = load(DomainRun, preset, overrides)
    generator = load_model(generator_path, expect="generator").to(pick_device())
    codes = _codes(generator, portraits, base_path, refiner_path, codes_path)
    data = None
    if references is not None:
        data = ImageFolder(references, generator.config.resolution, flip=not paired)
    about = describe(name or out.stem, prompt, data)
    arcface = load_model(arcface_path, expect="arcface") if arcface_path else None
    if paired:
        task = _paired(config, generator, codes, about, out, arcface, data)
    else:
        guide = (clip_source, source_prompt, prompt) if prompt else None
        task = _guided(config, generator, codes, about, out, arcface, data, guide)
    for path in run(task, data, config.loop, run_dir):
        click.echo(path)


def _guided(
    config: "DomainRun",
    generator: "Generator",
    codes: "Codes | None",
    about: "DomainDescription",
    out: Path,
    arcface: "ArcFace | None",
    data: "ImageFolder | None",
    guide: tuple[str, str, str] | None,
) -> "DomainTask":
    """The task guided by a prompt, by references or by both; `guide` is CLIP, source and prompt."""
    from rs_train.perceptual.clip import load_clip
    from rs_train.tasks.domain import GuidedDomainTask

    return GuidedDomainTask(
        config,
        generator,
        _pool(config, config.pool, generator, codes),
        about,
        out,
        clip=load_clip(guide[0]) if guide else None,
        prompts=guide[1:] if guide else None,
        arcface=arcface,
        has_references=data is not None,
    )


def _paired(
    config: "DomainRun",
    generator: "Generator",
    codes: "Codes | None",
    about: "DomainDescription",
    out: Path,
    arcface: "ArcFace | None",
    data: "ImageFolder",
) -> "DomainTask":
    """The task that is fitted to the true pictures of the portraits."""
    from rs_train.tasks.domain import PairedDomainTask

    pool = _pool(config, replace(config.pool, random_heads=0), generator, codes)
    if len(data) != len(pool):
        raise UsageError(
            "--paired needs one reference a portrait",
            found=f"{len(data)} references",
            expected=f"{len(pool)}",
        )
    return PairedDomainTask(config, generator, pool, about, out, arcface=arcface)


def _pool(
    config: "DomainRun", heads: "PoolConfig", generator: "Generator", codes: "Codes | None"
) -> "HeadPool":
    from rs_train.domains.pool import HeadPool

    precision = config.training.precision
    return HeadPool(generator, heads, codes, seed=config.loop.seed, precision=precision)


def _check(
    prompt: str | None,
    clip: str | None,
    references: Path | None,
    paired: bool,
    portraits: Path | None,
) -> None:
    """Refuse combinations of options that leave nothing to train on."""
    if prompt is None and references is None:
        raise UsageError("nothing describes the domain", expected="--prompt, --references or both")
    if prompt is not None and clip is None and not paired:
        raise UsageError("--prompt needs a guide", hint="add --clip clip.safetensors")
    if paired and (references is None or portraits is None):
        raise UsageError(
            "--paired needs two folders that show the same heads",
            expected="--portraits and --references",
        )


def _codes(
    generator: "Generator",
    portraits: Path | None,
    base_path: Path | None,
    refiner_path: Path | None,
    codes_path: Path | None,
) -> "Codes | None":
    """Inverted portraits: read from --codes, or made and kept there."""
    from rs_train.checkpoint import load_model
    from rs_train.domains.codes import invert, read_codes, write_codes
    from rs_train.inverters.base import load_base

    if codes_path is not None and codes_path.exists():
        return read_codes(codes_path, generator)
    if portraits is None:
        if codes_path is None:
            return None
        raise UsageError(f"{codes_path}: no such file", hint="add --portraits to make it")
    if base_path is None:
        raise UsageError("--portraits must be inverted", hint="add --base-inverter and --refiner")
    device = generator.latent_avg.device
    base = load_base(base_path).to(device)
    refiner = load_model(refiner_path, expect="refiner").to(device) if refiner_path else None
    pictures = _pictures(portraits, base.config.image_size).to(device)
    codes = invert(pictures, generator, base, refiner)
    if codes_path is not None:
        make_folder_of(codes_path)
        write_codes(codes_path, codes, generator)
    return codes


def _pictures(folder: Path, size: int) -> "Tensor":
    from rs_train.data import ImageFolder

    pictures = ImageFolder(folder, size)
    return pictures.images(range(len(pictures)))
