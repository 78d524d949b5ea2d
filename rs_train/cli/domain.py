"""rs-train domain"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.domain_inputs import DomainInputs, build_task
from rs_train.cli.options import make_folder_of, preset_options, run_option

if TYPE_CHECKING:
    from rs_train.tasks.domain_config import DomainRun

DEFAULT = "demo"  # the demo's preset for the way that is taken
PRESETS = {
    "tokens": "demo_domain",
    "style_space": "demo_style_space",
    "domain_modulation": "demo_domain_modulation",
    "affine_plus": "demo_affine_plus",
    "full": "demo_nada",
}
WAYS = {"goga": "demo_one_shot", "mindthegap": "demo_mindthegap", "difa": "demo_difa"}
GOGA = "demo_goga"  # fine-tuning, as published
CEILING = "demo_ceiling"

_file = click.Path(path_type=Path)


@click.command("domain")
@click.option("--prompt", help='Text of the domain, "a toned pencil sketch of a person".')
@click.option("--source-prompt", default="a photo of a person", show_default=True)
@click.option("--references", type=_file, help="Folder of pictures in the domain, unpaired.")
@click.option("--paired", is_flag=True, help="The references show --portraits, in their order.")
@click.option("--reference", type=_file, help="One picture in the domain (one-shot).")
@click.option(
    "--way",
    type=click.Choice(list(WAYS)),
    help="How the one picture is learnt from; the preset's way by default.",
)
@click.option("--portraits", type=_file, help="Folder of portraits to invert and train on.")
@click.option("--base-inverter", type=_file, help="Inverts --portraits and --reference.")
@click.option("--refiner", type=_file, help="Adds their own tokens.")
@click.option("--codes", type=_file, help="Keeps --portraits inverted, for reuse.")
@click.option("--name", help="Name of the domain; the stem of --out by default.")
@click.option("--generator", type=_file, required=True)
@click.option(
    "--clip",
    multiple=True,
    metavar="SOURCE[=WEIGHT]",
    help="CLIP checkpoint, or open_clip:NAME:TAG|FILE; repeat for an ensemble.",
)
@click.option("--arcface", type=_file, help="Network of the feature losses.")
@click.option("--vgg", type=_file, help="One-shot: torchvision's VGG-16 for the feature losses.")
@click.option(
    "--parameterisation",
    type=click.Choice(list(PRESETS)),
    help="What learns: a token set of one of three kinds, or a part or the whole of a copy of the"
    " synthesis network; the preset's by default.",
)
@click.option("--out", type=_file, required=True, help="What to write: .tokens or .safetensors.")
@run_option
@preset_options(DEFAULT)
def command(
    parameterisation: str | None,
    way: str | None,
    run_dir: Path,
    preset: str,
    overrides: tuple[str, ...],
    **named: Any,
) -> None:
    """Adapt a generator to a domain: by a prompt, by references, by both, or by one picture.

    Rerun the same command to go on where a run was stopped.

    Example: rs-train domain --prompt "a pencil sketch of a person" --references sketches
    --generator generator.safetensors --clip clip.safetensors --run runs/sketch --out sketch.tokens
    """
    from rs_train.config import load
    from rs_train.loop import run
    from rs_train.tasks.domain_config import DomainRun

    inputs = DomainInputs(**named)
    _check(inputs, way)
    if preset == DEFAULT:
        preset = _preset_of(inputs, parameterisation or "tokens", way or "goga")
    if parameterisation is not None:
        overrides = (*overrides, f"training.parameterisation={parameterisation}")
    if way is not None:
        overrides = (*overrides, f"one_shot.way={way}")
    config = load(DomainRun, preset, overrides)
    _check_out(inputs.out, config)
    make_folder_of(inputs.out)
    task, data = build_task(config, inputs)
    for path in run(task, data, config.loop, run_dir):
        click.echo(path)


def _preset_of(inputs: DomainInputs, parameterisation: str, way: str) -> str:
    if inputs.paired:
        return CEILING
    if not inputs.reference:
        return PRESETS[parameterisation]
    return GOGA if (way, parameterisation) == ("goga", "full") else WAYS[way]


def _check(inputs: DomainInputs, way: str | None) -> None:
    """Refuse combinations of options that leave nothing to train on."""
    if inputs.prompt is None and inputs.references is None and inputs.reference is None:
        raise UsageError(
            "nothing describes the domain", expected="--prompt, --references or --reference"
        )
    if inputs.reference and (inputs.prompt or inputs.references):
        raise UsageError(
            "--reference is the whole description of a domain",
            expected="no --prompt and no --references beside it",
        )
    if way and not inputs.reference:
        raise UsageError("--way is one of learning from one picture", hint="add --reference")
    if inputs.reference and not inputs.base_inverter:
        raise UsageError("--reference must be inverted", hint="add --base-inverter")
    if inputs.prompt and not inputs.clip and not inputs.paired:
        raise UsageError("--prompt needs a guide", hint="add --clip clip.safetensors")
    if inputs.paired and not (inputs.references and (inputs.portraits or inputs.codes)):
        raise UsageError(
            "--paired needs two folders that show the same heads",
            expected="--portraits and --references",
        )


def _check_out(out: Path, config: "DomainRun") -> None:
    """Refuse a name that says something else than the file will hold."""
    from rs_train.tasks.domain import FAMILIES

    suffix = FAMILIES[config.training.parameterisation].suffix
    if out.suffix != suffix:
        raise UsageError(
            f"--out {out}: not what this run writes",
            found=out.suffix or "no suffix",
            expected=f"{suffix}, for parameterisation {config.training.parameterisation}",
        )
