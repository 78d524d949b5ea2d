"""rs-train landmarks"""

from pathlib import Path

import click

from rs_train.cli.options import make_folder_of, preset_options, run_option

_folder = click.Path(path_type=Path)


@click.command("landmarks")
@click.option(
    "--data",
    "folders",
    type=_folder,
    multiple=True,
    required=True,
    help="Folder that `rs-train render --masks` wrote; repeat for several.",
)
@click.option("--validation", type=_folder, help="Such a folder of held-out people.")
@click.option("--out", type=_folder, required=True, help="The checkpoint to write, .safetensors.")
@run_option
@preset_options("demo_landmarks")
def command(
    folders: tuple[Path, ...],
    validation: Path | None,
    out: Path,
    run_dir: Path,
    preset: str,
    overrides: tuple[str, ...],
) -> None:
    """Train a network that finds faces and their five points anywhere in a photo.

    It sees the people of rendered folders at random places, sizes and angles in photos that are
    made up as they are needed, and photos without any face.

    Example: rs-train landmarks --data heads --run runs/landmarks --out landmarks.safetensors
    """
    make_folder_of(out)
    from rs_train.config import load
    from rs_train.landmarks.composites import Composites
    from rs_train.loop import run
    from rs_train.tasks.landmarks import LandmarkRun, LandmarkTask

    config = load(LandmarkRun, preset, overrides)
    size = config.model.image_size
    data = Composites(folders, size, seed=config.loop.seed)
    held_out = Composites([validation], size, seed=config.loop.seed + 1) if validation else None
    for path in run(LandmarkTask(config, out, held_out), data, config.loop, run_dir):
        click.echo(path)
