"""rs-train eval table1 … figure3 | all"""

from pathlib import Path

import click

_TABLES = {
    "table1": "Inversion of portraits: eight systems.",
    "table2": "Inversion of portraits with out-of-domain extras.",
    "table3": "Domain adaptation: tokens, StyleGAN-NADA and GOGA against the truth.",
    "table4": "Ablations of the two-stage model.",
    "table5": "Base inverters of the two-stage model.",
    "figure3": "Singular values of dynamic kernels.",
    "hyperdomainnet1": "What must change for a domain: parameterisations, in-domain angles.",
    "styledomain": "Few pictures of a domain that is unlike portraits: parameterisations.",
    "hyperdomainnet2": "Many domains by one network, seen and unseen.",
    "encoders1": "Encoders in text-guided domains: quality and diversity.",
    "encoders2": "Encoders in picture-guided domains: quality and diversity.",
    "encoders3": "Encoders: reconstruction, and closeness to domains.",
}
_path = click.Path(path_type=Path)


def add_to(group: click.Group) -> None:
    """Add a command for each of the paper's tables, and one for all of them."""
    for name, text in _TABLES.items():
        group.add_command(_command(name, (name,), text))
    encoders = tuple(name for name in _TABLES if name.startswith("encoders"))
    group.add_command(_command("encoders", encoders, "The tables of encoders, measured together."))
    group.add_command(_command("all", tuple(_TABLES), "All of the paper's tables."))


def _command(command: str, names: tuple[str, ...], text: str) -> click.Command:
    @click.command(
        command,
        short_help=text,
        help=f"{text}\n\nTrains what is missing in --work, beginning with the demo's own stages, "
        "then measures and writes a page. Rerun the same command to go on where it was stopped."
        f"\n\nExample: rs-train eval {command} --work demo-work",
    )
    @click.option("--work", type=_path, default=Path("demo-work"), show_default=True)
    @click.option("--out", type=_path, default=Path("docs/results"), show_default=True)
    @click.option("--count", type=click.IntRange(40), default=300, show_default=True)
    @click.option("--seed", type=click.IntRange(0), default=9001, show_default=True)
    @click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
    @click.option("--jobs", type=click.IntRange(1), default=1, show_default=True)
    def run(work: Path, out: Path, count: int, seed: int, workers: int, jobs: int) -> None:
        from rs_runtime.contracts.files import write_atomic
        from rs_train.stages import complete, record_of
        from rs_train.tables.laboratory import Laboratory
        from rs_train.tables.page import write_result
        from rs_train.tables.paper import TABLES, needed
        from rs_train.tables.record import trainings_page

        laboratory = Laboratory(work, count, seed, workers)
        for name in names:
            complete(needed(TABLES[name]), work, jobs)
            result = TABLES[name].make(laboratory)
            click.echo(result.table)
            for path in write_result(out, name, result):
                click.echo(path)
        record = record_of(work)
        own = {name: record[name] for name in record if name.startswith("table ")}
        write_atomic(out / "trainings.md", trainings_page(own).encode())
        click.echo(out / "trainings.md")

    return run
