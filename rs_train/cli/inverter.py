"""rs-train inverter"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.options import make_folder_of, preset_options, run_option

if TYPE_CHECKING:
    from rs_train.data import ImageFolder
    from rs_train.tasks.inverter import InverterRun, InverterTask

PRESETS = {"style_transformer": "demo_base_inverter", "two_stage": "demo_refiner"}
DEFAULT = "demo"  # the demo's preset for the model that is asked for

_file = click.Path(path_type=Path)


@click.command("inverter")
@click.option(
    "--model",
    type=click.Choice(list(PRESETS)),
    required=True,
    help="The base inverter, or the refiner that makes it two-stage.",
)
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    metavar="DIR[=WEIGHT]",
    help="Folder of photos and its share; repeat to mix.",
)
@click.option("--generator", "generator_path", type=_file, required=True, help="Its checkpoint.")
@click.option("--base", "base_path", type=_file, help="Two-stage: checkpoint of the base inverter.")
@click.option("--judge", "judge_path", type=_file, help="ArcFace checkpoint of the losses.")
@click.option("--validation", "validation_path", type=_file, help="Folder of held-out photos.")
@click.option("--init", "init_path", type=_file, help="Checkpoint of --model to go on from.")
@click.option("--out", type=_file, required=True, help="The checkpoint to write, .safetensors.")
@run_option
@preset_options(DEFAULT)
def command(
    model: str,
    folders: tuple[str, ...],
    generator_path: Path,
    base_path: Path | None,
    judge_path: Path | None,
    validation_path: Path | None,
    init_path: Path | None,
    out: Path,
    run_dir: Path,
    preset: str,
    overrides: tuple[str, ...],
) -> None:
    """Train an inverter for a generator.

    Rerun the same command to go on where a run was stopped.

    Example: rs-train inverter --model style_transformer --data photos --data extras=0.3
    --generator generator.safetensors --run runs/base --out base_inverter.safetensors
    """
    from rs_train.config import load
    from rs_train.data import ImageFolder
    from rs_train.inverters.mixture import Mixture
    from rs_train.loop import run
    from rs_train.tasks.inverter import InverterRun

    if (model == "two_stage") != (base_path is not None):
        raise UsageError(
            "--base goes with --model two_stage, and only with it",
            hint="train one first: rs-train inverter --model style_transformer …",
        )
    make_folder_of(out)
    config = load(InverterRun, PRESETS[model] if preset == DEFAULT else preset, overrides)
    size = config.network.image_size
    data = Mixture(_weights(folders), size)
    validation = ImageFolder(validation_path, size) if validation_path else None
    paths = {
        "generator": generator_path,
        "judge": judge_path,
        "base": base_path,
        "init": init_path,
    }
    task = _task(model, config, paths, out, validation)
    for path in run(task, data, config.loop, run_dir):
        click.echo(path)


def _weights(folders: tuple[str, ...]) -> dict[Path, float]:
    """Parse DIR[=WEIGHT]; an existing path that holds a "=" is a path."""
    weights: dict[Path, float] = {}
    for text in folders:
        folder, separator, weight = text.rpartition("=")
        if not separator or Path(text).exists():
            weights[Path(text)] = 1.0
            continue
        try:
            weights[Path(folder)] = float(weight)
        except ValueError:
            raise UsageError(
                f"--data {text}: {weight!r} is not a number", expected="DIR or DIR=WEIGHT"
            ) from None
    return weights


def _task(
    model: str,
    config: "InverterRun",
    paths: dict[str, Path | None],
    out: Path,
    validation: "ImageFolder | None",
) -> "InverterTask":
    """Load the checkpoints that `paths` names and build the task."""
    from rs_train.checkpoint import load_model
    from rs_train.tasks.inverter import StyleTransformerTask, TwoStageTask

    kinds = {
        "generator": "generator",
        "judge": "arcface",
        "base": "style_transformer",
        "init": "style_transformer" if model == "style_transformer" else "refiner",
    }
    loaded = {
        name: None if path is None else load_model(path, expect=kinds[name])
        for name, path in paths.items()
    }
    shared = {"judge": loaded["judge"], "validation": validation, "init": loaded["init"]}
    if model == "style_transformer":
        return StyleTransformerTask(config, loaded["generator"], out, **shared)
    return TwoStageTask(config, loaded["generator"], loaded["base"], out, **shared)
