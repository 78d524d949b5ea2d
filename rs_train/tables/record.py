"""The page about how the demo was made: stages, durations, commands, figures, machines."""

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rs_runtime.contracts.files import write_atomic

# Of a run's last figures, those that tell how it ended; others are parts of these.
_FIGURES = (
    "validation_refined",
    "validation_base",
    "loss",
    "d_loss",
    "g_loss",
    "l2",
    "latent",
    "l1",
    "perceptual",
    "identity",
    "direction",
    "structure",
)
_MOST_FIGURES = 3

_ABOUT = """\
Every command below is one of `rs-train`'s own, run in this order by `rs-train demo`, which writes
this page; the list of commands is `rs_train/demo_recipe.py`. Figures are the last ones of a run's
log, errors on the scale [-1, 1]."""


def machine() -> str:
    """Name this machine in words: processor, free cores, memory, accelerators, system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = [_processor(), f"{cores} cores"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        facts.append(f"{memory / 2**30:.0f} GiB memory")
    facts += [*_accelerators(), f"{platform.system()} {platform.machine()}"]
    return ", ".join(facts)


def demo_page(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Turn the record of a demo into a page.

    Args:
        record: Stage name to what was kept of it: `command` and `seconds`; of trainings also
            `steps`, `seed`, `figures`, `commit`, `versions`; `machine` where it is known.

    Returns:
        Markdown. It shows `images/curves.png` and refers to `results/` beside the page.
    """
    total = sum(float(kept["seconds"]) for kept in record.values())
    parts = [
        "# How the demo was made",
        _ABOUT,
        "![Validation errors of the inverters and losses of the generator](images/curves.png)",
        f"## Stages\n\n{len(record)} stages, {duration(total)} in all.",
        _stage_table(record),
        "Measured on held-out portraits afterwards: [inversion](results/inversion.md), "
        "[domains](results/domains.md).",
        "## Made with",
        _facts(record),
        "## Commands",
        "```text\n" + "\n".join(str(kept["command"]) for kept in record.values()) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def trainings_page(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Turn the record of the trainings behind the tables into a page, Markdown; see `demo_page`."""
    total = sum(float(kept["seconds"]) for kept in record.values())
    parts = [
        "# The trainings behind the tables",
        "Each is one command of `rs-train`, run by `rs-train eval` in a work folder of the demo. "
        f"{len(record)} trainings, {duration(total)} in all.",
        _stage_table(record),
        "## Made with",
        _facts(record),
        "## Commands",
        "```text\n" + "\n".join(str(kept["command"]) for kept in record.values()) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def write_demo_page(work: Path, record: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Write WORK/demo.md and the curves that it shows.

    Args:
        work: Folder of the demo, with runs/.
        record: See `demo_page`.

    Returns:
        The files.
    """
    from rs_train.tables.curves import write_curves

    curves = write_curves(work / "runs", work / "images" / "curves.png")
    page = work / "demo.md"
    write_atomic(page, demo_page(record).encode())
    return [page, curves]


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _stage_table(record: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| stage | duration | steps | seed | at the end |", "|---|---|---|---|---|"]
    for name, kept in record.items():
        steps = f"{kept['steps']:,}" if "steps" in kept else ""
        cells = (
            name,
            duration(kept["seconds"]),
            steps,
            kept.get("seed", ""),
            _figures(kept.get("figures", {})),
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _figures(figures: Mapping[str, float]) -> str:
    names = [name for name in _FIGURES if name in figures] or sorted(figures)
    shown = names[:_MOST_FIGURES]
    return ", ".join(f"{name.replace('_', ' ')} {figures[name]:.4g}" for name in shown)


def _facts(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Machines, versions and commits, each once, in the order in which they appear."""
    kept = record.values()
    versions = (
        ", ".join(f"{name} {number}" for name, number in one.get("versions", {}).items())
        for one in kept
    )
    rows = {
        "machine": _once(one.get("machine", "") for one in kept),
        "versions": _once(versions),
        "commits": _once(one.get("commit", "") for one in kept),
    }
    return "\n".join(f"* {name}: {'; '.join(found)}" for name, found in rows.items() if found)


def _once(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _processor() -> str:
    """The processor's model; Linux tells it in a file alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _accelerators() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
