"""Stages of a recipe: commands of rs-train, each run once in a folder that keeps the record."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rs_runtime.contracts.errors import RefineStyleError
from rs_runtime.contracts.files import write_atomic
from rs_train.tables.record import machine


@dataclass(frozen=True)
class Stage:
    """A named step of the recipe.

    Attributes:
        name: Of the stage, shown and recorded.
        argv: Arguments of rs-train.
        run: Folder of the training run, whose record is kept; empty for other commands.
    """

    name: str
    argv: tuple[str, ...]
    run: str = ""

    @property
    def out(self) -> str:
        """What the stage writes."""
        return self.argv[self.argv.index("--out") + 1]

    def reads(self, path: str) -> bool:
        """Whether a file or folder, or the folder that holds it, is among the stage's inputs."""
        arguments = [arg for arg in self.argv if arg != self.out]
        others = [
            part for arg in arguments for part in arg.split("=")
        ]  # of NAME=FILE, FOLDER=SHARE
        return any(arg == path or path.startswith(f"{arg}/") for arg in others)


Record = dict[str, dict[str, Any]]  # what is kept of each stage, by its name


def complete(stages: Iterable[Stage], work: Path, jobs: int = 1) -> Record:
    """Run those of the stages that have not run yet.

    Args:
        stages: In an order in which each finds what it reads.
        work: The folder that they run in. record.json there keeps what each took.
        jobs: Stages at a time.

    Returns:
        What is kept of every stage that ever ran here, by name.

    Raises:
        RefineStyleError: A stage failed; its exit code is the error's. Those that were under way
            beside it are finished and kept, and the same call goes on from there.
    """
    record = record_of(work)
    for name, kept in _run_all([stage for stage in stages if stage.name not in record], work, jobs):
        # Read again: another process may have run other stages meanwhile.
        record = record_of(work) | {name: kept}
        write_atomic(work / "record.json", (json.dumps(record, indent=2) + "\n").encode())
    return record


def record_of(work: Path) -> Record:
    """Read what is kept of the stages that ran in a folder."""
    path = work / "record.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _run_all(waiting: list[Stage], work: Path, jobs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run stages, each once those whose results it reads are done; yield names and records."""
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
    (work / stage.out).parent.mkdir(parents=True, exist_ok=True)
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
    """A stage failed; the command ends with the stage's own exit code."""

    def __init__(self, stage: Stage, code: int) -> None:
        super().__init__(
            f"stage {stage.name!r} failed with exit code {code}",
            hint="its own message is above; rerun the same command to go on from here",
        )
        self.exit_code = code if code > 0 else 128 - code
