"""What the paper's tables are measured with: a work folder's networks and held-out portraits."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rs_train.checkpoint import load_model
from rs_train.stages import record_of
from rs_train.tables.heldout import HeldOut, render_held_out


@dataclass(frozen=True)
class Laboratory:
    """A work folder of `rs-train demo`, with the models of the tables beside the demo's own.

    Attributes:
        work: The folder.
        count: Held-out portraits of a set.
        seed: Of their scenes; no training has this one.
        workers: Processes that render.
    """

    work: Path
    count: int
    seed: int
    workers: int

    def model(self, name: str) -> Any:
        """A network of the demo, by the stem of its file."""
        return load_model(self.work / f"models/{name}.safetensors")

    @cached_property
    def generator(self) -> Any:
        """The demo's generator."""
        return self.model("generator")

    @cached_property
    def metric(self) -> Any:
        """The network that no loss has seen."""
        return self.model("metric")

    def held_out(self, domain: str = "photo", *, extras: bool = False) -> HeldOut:
        """Portraits that no training has seen."""
        return render_held_out(
            self.work / "data/held-out",
            domain=domain,
            extras=extras,
            count=self.count,
            seed=self.seed,
            size=self.generator.config.resolution,
            workers=self.workers,
        )

    def seconds(self, stage: str) -> float:
        """How long a stage took, by the folder's record."""
        return record_of(self.work)[stage]["seconds"]
