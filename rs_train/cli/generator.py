"""rs-train generator"""

from pathlib import Path

import click

from rs_train.cli.options import make_folder_of, preset_options, run_option


@click.command("generator")
@click.option(
    "--data",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder of square pictures; repeat for several.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The generator's checkpoint, .safetensors.",
)
@run_option
@preset_options("demo_generator")
def command(
    folders: tuple[Path, ...], out: Path, run_dir: Path, preset: str, overrides: tuple[str, ...]
) -> None:
    """Train a StyleGAN2 generator on pictures.

    Rerun the same command to go on where a run was stopped.

    Example: rs-train generator --data portraits --run runs/generator --out generator.safetensors
    """
    make_folder_of(out)
    from rs_train.config import load
    from rs_train.data import ImageFolder
    from rs_train.loop import run
    from rs_train.tasks.generator import GeneratorRun, GeneratorTask

    config = load(GeneratorRun, preset, overrides)
    dataset = ImageFolder(folders, config.generator.resolution, flip=True)
    for path in run(GeneratorTask(config, out), dataset, config.loop, run_dir):
        click.echo(path)
