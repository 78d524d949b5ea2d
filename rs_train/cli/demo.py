"""rs-train demo"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import click

from rs_runtime.contracts.errors import RefineStyleError, UsageError
from rs_runtime.contracts.files import write_atomic
from rs_train.demo_recipe import Stage, stages
from rs_train.tables.record import machine, write_demo_page


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
    for folder in ("domains", "ceilings", "text-only"):
        (work / "models" / folder).mkdir(parents=True, exist_ok=True)
    record = _read_record(work)
    for name, kept in _run_all([stage for stage in recipe if stage.name not in record], work, jobs):
        # Read again: another process may have run other stages meanwhile.
        record = _read_record(work) | {name: kept}
        write_atomic(work / "record.json", (json.dumps(record, indent=2) + "\n").encode())
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


def _read_record(work: Path) -> dict[str, Any]:
    path = work / "record.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _run_all(waiting: list[Stage], work: Path, jobs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run stages, several at a time, each once those whose results it reads are done.

    Yields:
        Name and record of each stage when it ends.

    Raises:
        _StageError: A stage failed; those under way are finished and recorded first.
    """
    running: dict[Future, Stage] = {}
    failure: Exception | None = None
    total = len(waiting)
    with ThreadPoolExecutor(jobs) as pool:
        while running or (waiting and failure is None):
            busy = [*waiting, *running.values()]
            ready = [s for s in waiting if not any(s.reads(other.out) for other in busy)]
            for stage in ready[: jobs - len(running)] if failure is None else ():
                waiting.remove(stage)
                running[pool.submit(_run, stage, work)] = stage
                click.echo(f"[{total - len(waiting)}/{total}] {stage.name}", err=True)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage = running.pop(future)
                if future.exception() is None:
                    yield stage.name, future.result()
                failure = failure or future.exception()
    if failure is not None:
        raise failure


def _run(stage: Stage, work: Path) -> dict[str, Any]:
    """Run one stage in a process of its own and return what its record should keep."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "rs_train.cli", *stage.argv], cwd=work)
    if done.returncode:
        raise _StageError(stage, done.returncode)
    kept: dict[str, Any] = {
        "command": f"rs-train {subprocess.list2cmdline(stage.argv)}",
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine(),
    }
    if stage.run:
        record = json.loads((work / stage.run / "record.json").read_text())
        # The run's own clock counts what it spent before an interruption, too.
        kept |= {key: record[key] for key in ("seconds", "steps", "figures", "commit", "versions")}
        kept["seed"] = record["config"]["loop"]["seed"]
    return kept


class _StageError(RefineStyleError):
    """A stage failed; the demo ends with the stage's own exit code."""

    def __init__(self, stage: Stage, code: int) -> None:
        super().__init__(
            f"stage {stage.name!r} failed with exit code {code}",
            hint="its own message is above; rerun the same command to go on from here",
        )
        self.exit_code = code if code > 0 else 128 - code
