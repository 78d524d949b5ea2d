"""rs-train describe"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.contracts.errors import UsageError

if TYPE_CHECKING:
    from rs_train.describe import Description

# What the second half of a shipped preset's name configures.
_MODEL_OF = {
    "generator": "generator",
    "style_transformer": "style_transformer",
    "base_inverter": "style_transformer",
    "control": "style_transformer",
    "psp": "psp",
    "e4e": "e4e",
    "restyle": "restyle",
    "one_stage": "one_stage",
    "two_stage": "two_stage",
    "refiner": "two_stage",
    "hyperstyle": "hyperstyle",
    "hfgi": "hfgi",
    "feature_style": "feature_style",
    "feature_shift": "feature_shift",
    "domain": "domain",
    "ceiling": "domain",
    "one_shot": "domain",
    "nada": "domain",
    "goga": "domain",
    "mindthegap": "domain",
    "difa": "domain",
    "style_space": "domain",
    "domain_modulation": "domain",
    "affine_plus": "domain",
    "hypernetwork": "hypernetwork",
}
_MODELS = list(dict.fromkeys(_MODEL_OF.values()))


@click.command("describe")
@click.argument("preset")
@click.option("--model", type=click.Choice(_MODELS), help="What a preset of your own configures.")
@click.option(
    "--generator",
    metavar="NAME|FILE.toml",
    help="Preset of the generator that the model is for; that of the preset's family by default.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override one option of the preset; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    preset: str, model: str | None, generator: str | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Count the parameters and multiply-adds of what a preset configures.

    Nothing is trained or loaded. Costs are those of one picture.

    \b
    rs-train describe ffhq_two_stage
    rs-train describe ffhq_one_stage --set network.rank=16 --json
    """
    family, _, name = Path(preset).stem.partition("_")
    model = model or _MODEL_OF.get(name)
    if model is None:
        raise UsageError(
            f"{preset}: its name does not tell what it configures",
            hint=f"add --model {'|'.join(_MODELS)}",
        )
    found = _describe(preset, model, generator or f"{family}_generator", overrides)
    click.echo(_json(found) if as_json else _table(preset, found))


def _describe(preset: str, model: str, generator: str, overrides: tuple[str, ...]) -> "Description":
    from rs_train.config import load
    from rs_train.describe import (
        describe_domain,
        describe_generator,
        describe_hypernetwork,
        describe_inverter,
    )
    from rs_train.tasks.domain_config import DomainRun
    from rs_train.tasks.generator import GeneratorRun
    from rs_train.tasks.hypernetwork_config import HypernetworkRun
    from rs_train.tasks.inverters import RUNS

    if model == "generator":
        return describe_generator(load(GeneratorRun, preset, overrides).generator)
    shape = load(GeneratorRun, generator).generator
    if model == "domain":
        return describe_domain(load(DomainRun, preset, overrides).training, shape)
    if model == "hypernetwork":
        return describe_hypernetwork(load(HypernetworkRun, preset, overrides).network, shape)
    return describe_inverter(model, load(RUNS[model], preset, overrides).network, shape)


def _json(found: "Description") -> str:
    data = dataclasses.asdict(found) | {"parameters": found.parameters, "macs": found.macs}
    return json.dumps(data, indent=2)


def _table(preset: str, found: "Description") -> str:
    reads = "" if found.reads is None else f"reads {found.reads[0]} x {found.reads[1]}, "
    side = found.resolution
    title = f"{preset}: {found.model}, {reads}generator {side} x {side}, {found.num_ws} rows"
    lines = [(part.name, part.parameters, part.macs) for part in found.parts]
    lines.append(("total", found.parameters, found.macs))
    beside = [(f"beside: {part.name}", part.parameters, part.macs) for part in found.beside]
    width = max(len(name) for name, *_ in [*lines, *beside])
    rows = [f"{'':<{width}}  {'parameters':>13}  {'multiply-adds':>13}"]
    rows += [
        f"{name:<{width}}  {parameters:>13,}  {_billions(macs):>13}"
        for name, parameters, macs in [*lines, *beside]
    ]
    return "\n".join([title, *rows])


def _billions(macs: int | None) -> str:
    return "-" if macs is None else f"{macs / 1e9:,.3f} G"
