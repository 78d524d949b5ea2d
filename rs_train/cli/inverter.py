"""rs-train inverter"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.options import make_folder_of, preset_options, run_option, shares

if TYPE_CHECKING:
    from rs_train.data import ImageFolder
    from rs_train.tasks.inverter import InverterRun, InverterTask

PRESETS = {
    "style_transformer": "demo_base_inverter",
    "psp": "demo_psp",
    "e4e": "demo_e4e",
    "restyle": "demo_restyle",
    "one_stage": "demo_one_stage",
    "two_stage": "demo_refiner",
    "hyperstyle": "demo_hyperstyle",
    "hfgi": "demo_hfgi",
    "feature_style": "demo_feature_style",
    "feature_shift": "demo_feature_shift",
}
SECOND_STAGES = ("two_stage", "hyperstyle", "hfgi")  # on top of a base inverter
SHIFT = "feature_shift"  # on top of a feature_style encoder, for domains
PUBLIC = ("lpips", "identity", "moco", "trunk")  # networks that --weights names
DEFAULT = "demo"  # the demo's preset for the model that is asked for

_file = click.Path(path_type=Path)


@click.command("inverter")
@click.option(
    "--model",
    type=click.Choice(list(PRESETS)),
    required=True,
    help="A base inverter, the one-stage inverter, a second stage (two_stage: the refiner), or a "
    "feature encoder and what moves its features.",
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
@click.option("--base", "base_path", type=_file, help="Second stages: the base inverter's.")
@click.option(
    "--domain",
    "domain_paths",
    type=_file,
    multiple=True,
    help="feature_shift: a .tokens file, or a folder of them; repeats.",
)
@click.option("--judge", "judge_path", type=_file, help="ArcFace checkpoint of the losses.")
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=FILE",
    help=f"Public weights of a loss, or of a trunk to start from: {', '.join(PUBLIC)}; repeats.",
)
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
    domain_paths: tuple[Path, ...],
    judge_path: Path | None,
    weights: tuple[str, ...],
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
    from rs_train.tasks.inverters import RUNS

    _check_bases(model, base_path, domain_paths)
    make_folder_of(out)
    config = load(RUNS[model], PRESETS[model] if preset == DEFAULT else preset, overrides)
    size = config.network.image_size
    data = Mixture({Path(name): share for name, share in shares("--data", folders).items()}, size)
    validation = ImageFolder(validation_path, size) if validation_path else None
    files = _Files(generator_path, base_path, domain_paths, judge_path, init_path, _public(weights))
    task = _task(model, config, files, out, validation)
    for path in run(task, data, config.loop, run_dir):
        click.echo(path)


@dataclass(frozen=True)
class _Files:
    """The checkpoints that a training begins with."""

    generator: Path
    base: Path | None
    domains: tuple[Path, ...]
    judge: Path | None
    init: Path | None
    public: dict[str, Path]


def _check_bases(model: str, base: Path | None, domains: tuple[Path, ...]) -> None:
    if (model in (*SECOND_STAGES, SHIFT)) != (base is not None):
        raise UsageError(
            f"--base goes with --model {', '.join((*SECOND_STAGES, SHIFT))}, and only with them",
            hint="train one first: rs-train inverter --model "
            + ("feature_style …" if model == SHIFT else "style_transformer …"),
        )
    if (model == SHIFT) != bool(domains):
        raise UsageError(
            f"--domain goes with --model {SHIFT}, and only with it",
            hint="train one first: rs-train domain …",
        )


def _public(weights: tuple[str, ...]) -> dict[str, Path]:
    """Parse NAME=FILE."""
    files = {}
    for text in weights:
        name, separator, path = text.partition("=")
        if not separator or name not in PUBLIC:
            raise UsageError(
                f"--weights {text}", expected=f"NAME=FILE, NAME one of {', '.join(PUBLIC)}"
            )
        files[name] = Path(path)
    return files


def _task(
    model: str,
    config: "InverterRun",
    files: _Files,
    out: Path,
    validation: "ImageFolder | None",
) -> "InverterTask":
    """Load the checkpoints and build the task."""
    from rs_train.checkpoint import load_model
    from rs_train.domains.token_file import read_domains
    from rs_train.generator.tokens import pack_each
    from rs_train.inverters.base import load_base
    from rs_train.tasks.image_losses import load_loss_networks
    from rs_train.tasks.inverters import TASKS

    task = TASKS[model]
    kind = "refiner" if model == "two_stage" else model
    judge = load_model(files.judge, expect="arcface") if files.judge else None
    options: dict[str, Any] = {
        "networks": load_loss_networks(judge, files.public),
        "validation": validation,
        "init": load_model(files.init, expect=kind) if files.init else None,
        "trunk": task.read_trunk(files.public["trunk"]) if "trunk" in files.public else None,
    }
    generator = load_model(files.generator, expect="generator")
    if model == SHIFT:
        options["base"] = load_model(files.base, expect="feature_style")
        options["domains"] = pack_each(read_domains(files.domains, generator), generator.table)
    elif files.base is not None:
        options["base"] = load_base(files.base)
    return task(config, generator, out, **options)
