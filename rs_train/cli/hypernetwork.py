"""rs-train hypernetwork"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.inverted import portrait_codes
from rs_train.cli.options import make_folder_of, preset_options, run_option

if TYPE_CHECKING:
    from rs_train.domains.pictures import DomainPictures
    from rs_train.tasks.hypernetwork import HypernetworkTask
    from rs_train.tasks.hypernetwork_config import HypernetworkRun

_file = click.Path(path_type=Path)


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What the command line names."""

    pictures: Path | None
    portraits: Path | None
    base_inverter: Path | None
    refiner: Path | None
    codes: Path | None
    generator: Path
    clip: str
    arcface: Path | None
    out: Path


@click.command("hypernetwork")
@click.option(
    "--pictures",
    type=_file,
    help="Has a folder a domain, each with pictures of the --portraits in their order.",
)
@click.option("--portraits", type=_file, help="Folder of portraits to invert and train on.")
@click.option("--base-inverter", type=_file, help="Inverts --portraits.")
@click.option("--refiner", type=_file, help="Adds their own tokens.")
@click.option("--codes", type=_file, help="Keeps --portraits inverted, for reuse.")
@click.option("--generator", type=_file, required=True)
@click.option("--clip", required=True, help="CLIP checkpoint, or open_clip:NAME:TAG|FILE.")
@click.option("--arcface", type=_file, help="Network of the feature losses.")
@click.option("--out", type=_file, required=True, help="The trained network, .safetensors.")
@run_option
@preset_options("demo_hypernetwork")
def command(run_dir: Path, preset: str, overrides: tuple[str, ...], **named: Any) -> None:
    """Train one network that makes a domain of any text or picture.

    The domains to train on, with their wordings, are in section [domains] of the preset. Rerun the
    same command to go on where a run was stopped.

    Example: rs-train hypernetwork --pictures looks --portraits photos
    --base-inverter base.safetensors --generator generator.safetensors --clip clip.safetensors
    --arcface arcface.safetensors --run runs/hypernetwork --out hypernetwork.safetensors
    """
    from rs_train.config import load
    from rs_train.loop import run
    from rs_train.tasks.hypernetwork_config import HypernetworkRun

    inputs = _Inputs(**named)
    if inputs.pictures and not (inputs.portraits or inputs.codes):
        raise UsageError("--pictures show --portraits", hint="add --portraits, or their --codes")
    config = load(HypernetworkRun, preset, overrides)
    make_folder_of(inputs.out)
    task, data = _build(config, inputs)
    for path in run(task, data, config.loop, run_dir):
        click.echo(path)


def _build(
    config: "HypernetworkRun", inputs: _Inputs
) -> "tuple[HypernetworkTask, DomainPictures | None]":
    """The task, and the pictures that its batches are drawn from."""
    from rs_train.checkpoint import load_model
    from rs_train.devices import pick_device
    from rs_train.domains.pictures import DomainPictures
    from rs_train.domains.pool import HeadPool
    from rs_train.perceptual.clip import load_clip
    from rs_train.tasks.hypernetwork import HypernetworkTask

    generator = load_model(inputs.generator, expect="generator").to(pick_device())
    size, training = generator.config.resolution, config.training
    data = None
    if inputs.pictures:
        data = DomainPictures(inputs.pictures, config.domains, size, training.heads)
    codes = portrait_codes(inputs, generator)
    if data is not None and data.scenes > len(codes):
        raise UsageError(
            "--pictures show more than --portraits",
            found=f"{data.scenes} pictures a domain, {len(codes)} portraits",
            expected="a portrait for each, in the same order",
        )
    clip = load_clip(inputs.clip)
    arcface = load_model(inputs.arcface, expect="arcface") if inputs.arcface else None
    # Last, because it takes minutes at large sizes.
    pool = HeadPool(
        generator, config.pool, codes, seed=config.loop.seed, precision=training.precision
    )
    task = HypernetworkTask(
        config,
        generator=generator,
        pool=pool,
        clip=clip,
        arcface=arcface,
        pictures=data,
        out=inputs.out,
    )
    return task, data
