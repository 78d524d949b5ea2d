"""rs-train eval inversion | domains | calibration | strips, and the paper's tables"""

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.files import write_atomic
from rs_train.cli.paper import add_to

if TYPE_CHECKING:
    from rs_train.tables.heldout import HeldOut

_file = click.Path(path_type=Path)
_INVERSION = """\
Held-out portraits (seed {seed}) that no training has seen, without and with out-of-domain extras.
MSE on the scale [-1, 1] of 8-bit pictures; feature distance (LPIPS-type) and identity (cosine) by
the metric network, which no loss has seen."""
_DOMAINS = """\
{count} held-out portraits (seed {seed}) are inverted by the two-stage model, restyled, and compared
with the true renders of the same scenes in the domain. `span` is the share of the way from the
unadapted source to tokens fitted on pairs (– where these are no closer than the source), `way` the
share of the whole way to the true renders. Feature distance, Fréchet and kernel distance and
identity (cosine to the photo) are taken on the metric network, which no loss has seen; MSE on the
scale [-1, 1], `background MSE` over the renderer's background mask alone."""


@click.group("eval")
def command() -> None:
    """Measure inversion and domains on held-out portraits, and write the tables."""


add_to(command)


class _Subject:
    """The two-stage model under test, the judge, and where held-out portraits are."""

    def __init__(
        self,
        generator: Path,
        base_inverter: Path,
        refiner: Path,
        metric: Path,
        held_out: Path,
        seed: int,
        workers: int,
    ) -> None:
        from rs_train.checkpoint import load_model

        self.generator = load_model(generator, expect="generator")
        self.base = load_model(base_inverter, expect="style_transformer")
        self.refiner = load_model(refiner, expect="refiner")
        self.metric = load_model(metric, expect="metric")
        self.seed = seed
        self._render = {
            "root": held_out,
            "seed": seed,
            "workers": workers,
            "size": self.generator.config.resolution,
        }

    def held_out(self, domain: str, count: int, *, extras: bool = False) -> "HeldOut":
        """Portraits that no training has seen."""
        from rs_train.tables.heldout import render_held_out

        return render_held_out(domain=domain, count=count, extras=extras, **self._render)


def _of_subject(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name its subject, and the subject as first argument."""
    options = (
        click.option("--generator", type=_file, required=True),
        click.option("--base-inverter", type=_file, required=True),
        click.option("--refiner", type=_file, required=True),
        click.option("--metric", type=_file, required=True),
        click.option(
            "--held-out",
            type=_file,
            required=True,
            help="Folder that held-out portraits are rendered into, or were by an earlier run.",
        ),
        click.option("--seed", type=click.IntRange(0), default=9001, show_default=True),
        click.option("--workers", type=click.IntRange(1), default=1, show_default=True),
    )

    @functools.wraps(function)
    def call(**values: Any) -> None:
        names = inspect.signature(_Subject).parameters
        function(_Subject(**{name: values.pop(name) for name in names}), **values)

    for option in reversed(options):
        call = option(call)
    return call


_out = click.option("--out", type=_file, default=Path("docs/results"), show_default=True)


@command.command("inversion")
@_of_subject
@_out
@click.option("--control", "control_path", type=_file, help="The base inverter trained on.")
@click.option("--count", type=click.IntRange(2), default=500, show_default=True)
@click.option("--extras-count", type=click.IntRange(2), default=200, show_default=True)
@click.option(
    "--reconstruction",
    "reconstruction_path",
    type=_file,
    help="Also write the record from which a bundle warns of unknown kinds of picture.",
)
@click.option("--knows", default="rendered portraits", show_default=True, help="The known kind.")
def inversion(
    subject: _Subject,
    out: Path,
    control_path: Path | None,
    count: int,
    extras_count: int,
    reconstruction_path: Path | None,
    knows: str,
) -> None:
    """Compare the inverters on portraits and on portraits with out-of-domain extras.

    Example: rs-train eval inversion --generator generator.safetensors --base-inverter
    base.safetensors --refiner refiner.safetensors --metric metric.safetensors --held-out heldout
    """
    from rs_train.checkpoint import load_model
    from rs_train.tables.inversion import (
        inversion_markdown,
        inversion_table,
        reconstruction_record,
    )
    from rs_train.tables.page import Result, write_result

    models = {"base": (subject.base, None)}
    if control_path is not None:
        models["base, trained on"] = (load_model(control_path, expect="style_transformer"), None)
    models["two-stage"] = (subject.base, subject.refiner)
    sets = {
        "in domain": subject.held_out("photo", count),
        "with extras": subject.held_out("photo", extras_count, extras=True),
    }
    rows = inversion_table(subject.generator, models, sets, subject.metric)
    table = inversion_markdown(rows)
    click.echo(table)
    if reconstruction_path is not None:
        two_stage = next(row for row in rows if row.model == "two-stage")
        record = reconstruction_record(two_stage, knows)
        write_atomic(reconstruction_path, (json.dumps(record, indent=2) + "\n").encode())
        click.echo(reconstruction_path)
    about = _INVERSION.format(seed=subject.seed)
    result = Result(title="Inversion", about=about, rows=rows, table=table)
    for path in write_result(out, "inversion", result):
        click.echo(path)


@command.command("domains")
@_of_subject
@_out
@click.option("--tokens", "tokens_dir", type=_file, required=True, help="Folder of NAME.tokens.")
@click.option("--ceilings", "ceilings_dir", type=_file, required=True, help="The same, on pairs.")
@click.option("--text-only", "text_dir", type=_file, help="The same, from the prompt alone.")
@click.option("--count", type=click.IntRange(2), default=300, show_default=True)
def domains(
    subject: _Subject,
    out: Path,
    tokens_dir: Path,
    ceilings_dir: Path,
    text_dir: Path | None,
    count: int,
) -> None:
    """Compare restyled portraits with the true renders of each domain in --tokens.

    Example: rs-train eval domains --generator generator.safetensors --base-inverter
    base.safetensors --refiner refiner.safetensors --metric metric.safetensors --held-out heldout
    --tokens domains --ceilings ceilings
    """
    from rs_train.domains.codes import invert
    from rs_train.tables import domains as tables
    from rs_train.tables.page import Result, write_result

    folders = {"ours": tokens_dir, tables.CEILING: ceilings_dir}
    if text_dir is not None:
        folders["prompt alone"] = text_dir
    names = sorted(path.stem for path in tokens_dir.glob("*.tokens"))
    if not names:
        raise UsageError(f"{tokens_dir}: holds no token sets", expected="NAME.tokens files")

    generator = subject.generator
    photos = subject.held_out("photo", count)
    codes = invert(photos.image, generator, subject.base, subject.refiner)
    rows = []
    for name in names:
        ways = {way: _read(folder / f"{name}.tokens", generator) for way, folder in folders.items()}
        truth = subject.held_out(name, count)
        rows += tables.domain_table(name, generator, codes, photos, truth, ways, subject.metric)
    table = tables.domains_markdown(rows)
    click.echo(table)
    about = _DOMAINS.format(count=count, seed=subject.seed)
    result = Result(title="Domains", about=about, rows=rows, table=table)
    for path in write_result(out, "domains", result):
        click.echo(path)


def _read(path: Path, generator: Any) -> Any:
    from rs_runtime.contracts.tokens import read_token_set

    return read_token_set(path, table=generator.table, fingerprint=generator.fingerprint())


@command.command("calibration")
@click.option("--generator", "generator_path", type=_file, required=True)
@click.option(
    "--encoder",
    "encoders",
    type=_file,
    multiple=True,
    required=True,
    help="A base inverter or a Feature-Style-Encoder; repeats.",
)
@click.option("--metric", type=_file, required=True)
@click.option("--tokens", "tokens_dir", type=_file, required=True, help="Folder of NAME.tokens.")
@click.option(
    "--held-out",
    type=_file,
    required=True,
    help="Folder that held-out portraits are rendered into, or were by an earlier run.",
)
@click.option("--heads", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--count", type=click.IntRange(2), default=300, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=9001, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--calibrations",
    type=_file,
    help="Folder to write ENCODER.calibration.json into; rs-export looks beside the checkpoints.",
)
@_out
def calibration(
    generator_path: Path,
    encoders: tuple[Path, ...],
    metric: Path,
    tokens_dir: Path,
    held_out: Path,
    heads: int,
    count: int,
    seed: int,
    workers: int,
    calibrations: Path | None,
    out: Path,
) -> None:
    """Compare encoders' styles with mapped ones, and calibrate domains for them.

    Example: rs-train eval calibration --generator generator.safetensors --encoder
    base_inverter.safetensors --metric metric.safetensors --tokens domains --held-out heldout
    """
    from rs_runtime.contracts.calibration import calibration_path, encode_calibration
    from rs_train.checkpoint import load_model
    from rs_train.tables.calibration import report
    from rs_train.tables.heldout import render_held_out
    from rs_train.tables.page import write_result

    generator = load_model(generator_path, expect="generator")
    names = sorted(path.stem for path in tokens_dir.glob("*.tokens"))
    if not names:
        raise UsageError(f"{tokens_dir}: holds no token sets", expected="NAME.tokens files")

    def portraits(domain: str) -> "HeldOut":
        return render_held_out(
            held_out,
            domain=domain,
            extras=False,
            count=count,
            seed=seed,
            size=generator.config.resolution,
            workers=workers,
        )

    domains = {
        name: (_read(tokens_dir / f"{name}.tokens", generator), portraits(name)) for name in names
    }
    network = load_model(metric, expect="metric")
    result, found = report(generator, encoders, domains, portraits("photo"), network, heads, seed)
    click.echo(result.table)
    if calibrations is not None:
        calibrations.mkdir(parents=True, exist_ok=True)
        for path in encoders:
            own = calibration_path(calibrations / path.name)
            write_atomic(own, encode_calibration(found[path]))
            click.echo(own)
    for path in write_result(out, "calibration", result):
        click.echo(path)


@command.command("strips")
@click.option("--bundle", type=_file, help="The bundle; the demo's by default.")
@click.option("--seed", type=click.IntRange(0), default=9001, show_default=True)
@click.option("--index", "indices", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--extras", is_flag=True, help="Heads with out-of-domain extras.")
@click.option("--out", type=_file, default=Path("docs/images"), show_default=True)
def strips(
    bundle: Path | None, seed: int, indices: tuple[int, ...], extras: bool, out: Path
) -> None:
    """Draw held-out heads in every domain of a bundle, with the true render beside each.

    Example: rs-train eval strips --index 3 --index 8
    """
    from rs_runtime.pipeline import load
    from rs_train.tables.strips import write_strips

    for path in write_strips(load(bundle), out, seed=seed, indices=indices, extras=extras):
        click.echo(path)
