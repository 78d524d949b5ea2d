"""rs-train judge clip | arcface | metric"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rs_train.cli.options import make_folder_of, preset_options, run_option

_data_option = click.option(
    "--data",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder that `rs-train render` wrote; repeat for several.",
)
_out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The judge's checkpoint, .safetensors.",
)


@click.group("judge")
def command() -> None:
    """Train a network that judges pictures: for the losses, or for the metrics alone."""


def _judge(kind: str) -> Callable[[Callable[..., Any]], click.Command]:
    def decorate(function: Callable[..., Any]) -> click.Command:
        for option in (preset_options(f"demo_{kind}"), run_option, _out_option, _data_option):
            function = option(function)
        return command.command(kind)(function)

    return decorate


@_judge("clip")
def clip(
    folders: tuple[Path, ...], out: Path, run_dir: Path, preset: str, overrides: tuple[str, ...]
) -> None:
    """Train a small CLIP on pictures and their captions.

    Example: rs-train judge clip --data photo --data sketch --run runs/clip --out clip.safetensors
    """
    from rs_train.tasks.judge import ClipRun, ClipTask

    _train(ClipRun, ClipTask, folders, out, run_dir, preset, overrides)


@_judge("arcface")
def arcface(
    folders: tuple[Path, ...], out: Path, run_dir: Path, preset: str, overrides: tuple[str, ...]
) -> None:
    """Train an identity embedding; needs several pictures of each person.

    Example: rs-train judge arcface --data people --run runs/arcface --out arcface.safetensors
    """
    from rs_train.tasks.judge import ArcFaceRun, ArcFaceTask

    _train(ArcFaceRun, ArcFaceTask, folders, out, run_dir, preset, overrides)


@_judge("metric")
def metric(
    folders: tuple[Path, ...], out: Path, run_dir: Path, preset: str, overrides: tuple[str, ...]
) -> None:
    """Train the network that measures results and that no loss ever sees.

    Example: rs-train judge metric --data people --run runs/metric --out metric.safetensors
    """
    from rs_train.tasks.judge import MetricRun, MetricTask

    _train(MetricRun, MetricTask, folders, out, run_dir, preset, overrides)


def _train(
    config_class: type,
    task_class: type,
    folders: tuple[Path, ...],
    out: Path,
    run_dir: Path,
    preset: str,
    overrides: tuple[str, ...],
) -> None:
    make_folder_of(out)
    from rs_train.config import load
    from rs_train.loop import run
    from rs_train.perceptual.labelled import LabelledPortraits

    config = load(config_class, preset, overrides)
    # Pictures stay at the renderer's size where the judge takes any size.
    data = LabelledPortraits(folders, max(config.model.image_size, 128))
    for path in run(task_class(config, data, out), data, config.loop, run_dir):
        click.echo(path)
