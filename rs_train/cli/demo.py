"""rs-train demo"""

import subprocess
from pathlib import Path

import click

from rs_runtime.contracts.errors import UsageError
from rs_train.demo_recipe import stages
from rs_train.stages import Stage, complete
from rs_train.tables.record import write_demo_page


@click.command("demo")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("demo-work"),
    show_default=True,
    help="Folder of data, runs and models; an interrupted demo goes on there.",
)
@click.option("--only", multiple=True, metavar="STAGE", help="Run these stages; repeatable.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Stages at a time: more than one pays with an accelerator and many cores.",
)
@click.option("--list", "is_list", is_flag=True, help="Print the commands and stop.")
def command(work: Path, only: tuple[str, ...], jobs: int, is_list: bool) -> None:
    """Rebuild the demo from nothing: render, train, adapt, measure.

    Takes hours on a CPU. Finished stages are skipped; WORK/record.json tells what each took, and
    WORK/demo.md tells it to people once all are done.
    The result is exported with: rs-export --model two_stage --fp16 --checkpoint WORK/models

    Example: rs-train demo --work demo-work
    """
    recipe = _select(only)
    if is_list:
        for stage in recipe:
            click.echo(f"rs-train {subprocess.list2cmdline(stage.argv)}")
        return
    record = complete(recipe, work, jobs)
    names = [stage.name for stage in stages()]
    if all(name in record for name in names):
        for path in write_demo_page(work, {name: record[name] for name in names}):
            click.echo(path)


def _select(only: tuple[str, ...]) -> list[Stage]:
    recipe = stages()
    names = [stage.name for stage in recipe]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise UsageError(f"no stage {unknown[0]!r}", expected=f"one of {', '.join(names)}")
    return [stage for stage in recipe if not only or stage.name in only]
