"""Tables of inversion: whole systems, each measured on the same held-out portraits."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from rs_runtime.diagnostics.sheet import sheet
from rs_train.checkpoint import read_record
from rs_train.describe import describe_inverter
from rs_train.generator import Generator
from rs_train.grids import to_pixels
from rs_train.inverters.build import Network
from rs_train.inverters.pooling import pool_to
from rs_train.inverters.reconstruct import load_system, reconstruct
from rs_train.perceptual.metric import MetricNetwork
from rs_train.tables.heldout import HeldOut
from rs_train.tables.measure import Measured, measure, quantised

_TIMED_PICTURES, _TIMED_ROUNDS = 8, 5


@dataclass(frozen=True)
class System:
    """An inversion system.

    Attributes:
        name: What a table calls it.
        first: Checkpoint of a base inverter or of a one-stage inverter.
        second: Checkpoint of what improves on a base inverter.
    """

    name: str
    first: Path
    second: Path | None = None

    @property
    def last(self) -> Path:
        """Checkpoint of the stage that was trained last."""
        return self.second or self.first


@dataclass(frozen=True, kw_only=True)
class SystemRow:
    """A system on one set of portraits.

    Attributes:
        portraits: Name of the set.
        system: Name of the system.
        parameters: Trained numbers of its last stage, without what that stage keeps frozen.
        macs: Multiply-adds of that stage for one picture, the generator excluded.
        steps: Training steps of that stage.
        seconds: What they took.
        time: Time of a whole inversion, generator included, over that of the first row's system.
        ratio: Its squared error over that of its own base inverter; None for a base inverter.
        measured: Its numbers against the portraits, at the size that its encoder reads.
        full_size: The same at the generator's size, of which no loss saw the finest detail.
    """

    portraits: str
    system: str
    parameters: int
    macs: int
    steps: int
    seconds: float
    time: float
    ratio: float | None
    measured: Measured
    full_size: Measured


@dataclass(frozen=True)
class Subject:
    """What every system is measured with.

    Attributes:
        generator: Whose latents are sought.
        metric: The network that no loss has seen.
        sets: Held-out portraits by name.
    """

    generator: Generator
    metric: MetricNetwork
    sets: Mapping[str, HeldOut]


def system_rows(subject: Subject, systems: Sequence[System]) -> list[SystemRow]:
    """Invert every set with every system; a set's systems come in the order given.

    Raises:
        RefineStyleError: A checkpoint is missing, damaged, or of the wrong kind.
    """
    loaded = {system: load_system(system.first, system.second) for system in systems}
    some = next(iter(subject.sets.values())).image[:_TIMED_PICTURES]
    times = _times(subject.generator, list(loaded.values()), some)
    trained = {system: _trained(system, subject.generator) for system in systems}
    rows = []
    for portraits, held_out in subject.sets.items():
        errors: dict[Path, float] = {}
        for (system, stages), seconds in zip(loaded.items(), times, strict=True):
            measured, full_size = _measure(subject, stages, held_out)
            if system.second is None:
                errors[system.first] = measured.mse
            elif system.first not in errors:
                errors[system.first] = _measure(subject, (stages[0], None), held_out)[0].mse
            ratio = measured.mse / errors[system.first] if system.second else None
            rows.append(
                SystemRow(
                    portraits=portraits,
                    system=system.name,
                    **trained[system],
                    time=seconds / times[0],
                    ratio=ratio,
                    measured=measured,
                    full_size=full_size,
                )
            )
    return rows


def systems_markdown(rows: Sequence[SystemRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| system | MSE | MSE / base | LPIPS* | ID* | full size: MSE | LPIPS* | ID* | parameters "
        "| MACs | time | steps | training |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m, full = row.measured, row.full_size
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"| {row.system} | {m.mse:.4f} | {ratio} | {m.feature_distance:.4f} | {m.identity:.3f} "
            f"| {full.mse:.4f} | {full.feature_distance:.4f} | {full.identity:.3f} "
            f"| {row.parameters / 1e6:.2f} M | {row.macs / 1e9:.2f} G "
            f"| {row.time:.2f} | {row.steps:,} | {row.seconds / 60:.0f} min |"
        )
    return "\n".join(lines) + "\n"


def systems_picture(
    subject: Subject, portraits: str, systems: Sequence[System], indices: Sequence[int]
) -> NDArray[np.uint8]:
    """Some portraits of a set and what each system makes of them, uint8 [H, W, 3]."""
    photo = subject.sets[portraits].image[list(indices)]
    columns = {"portrait": to_pixels(photo)}
    for system in systems:
        stages = load_system(system.first, system.second)
        columns[system.name] = to_pixels(reconstruct(photo, subject.generator, *stages))
    rows = [[(name, column[i]) for name, column in columns.items()] for i in range(len(indices))]
    return sheet(rows, height=photo.shape[-1])


def _measure(
    subject: Subject, stages: tuple[nn.Module, nn.Module | None], held_out: HeldOut
) -> tuple[Measured, Measured]:
    """At the size that the encoder reads, and at the generator's size."""
    photo = held_out.image
    image = quantised(reconstruct(photo, subject.generator, *stages))
    size = stages[0].config.image_size
    pairs = ((_read_at(size, image), _read_at(size, photo)), (image, photo))
    first, second = (
        measure(subject.metric, made, true, true, held_out.background) for made, true in pairs
    )
    return first, second


def _read_at(size: int, image: Tensor) -> Tensor:
    """Pictures [N, 3, R, R] without what an encoder of this input size cannot see, same shape."""
    return F.interpolate(pool_to(image, size), image.shape[-1], mode="bilinear")


def _trained(system: System, generator: Generator) -> dict[str, Any]:
    """Size and cost of a system's last stage, as fields of `SystemRow`."""
    found = read_record(system.last)
    record = found["record"]
    model = "two_stage" if found["kind"] == "refiner" else found["kind"]
    network = TypeAdapter(Network).validate_python(record["config"]["network"])
    size = describe_inverter(model, network, generator.config)
    return {
        "parameters": size.parameters,
        "macs": size.macs,
        "steps": record["steps"],
        "seconds": record["seconds"],
    }


def _times(
    generator: Generator, systems: Sequence[tuple[nn.Module, nn.Module | None]], photo: Tensor
) -> list[float]:
    """Median seconds of an inversion of `photo` by each system, taken in turns."""
    seconds: list[list[float]] = [[] for _ in systems]
    with torch.no_grad():
        for _ in range(_TIMED_ROUNDS):
            for own, stages in zip(seconds, systems, strict=True):
                started = time.perf_counter()
                reconstruct(photo, generator, *stages)
                own.append(time.perf_counter() - started)
    return [median(own) for own in seconds]
