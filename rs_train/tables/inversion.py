"""Table of inversion: base inverter, the base trained on, and the two-stage model."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rs_train.domains.codes import Codes, invert
from rs_train.generator import Generator
from rs_train.perceptual.metric import MetricNetwork
from rs_train.tables.heldout import HeldOut
from rs_train.tables.measure import BATCH, Measured, measure, quantised


@dataclass(frozen=True)
class InversionRow:
    """One model on one set of portraits.

    Attributes:
        pictures: Name of the set.
        model: Name of the model.
        measured: Its numbers, against the portraits themselves.
        mse_ratio: Its squared error over the first model's on the same set.
    """

    pictures: str
    model: str
    measured: Measured
    mse_ratio: float


@torch.no_grad()
def synthesize(generator: Generator, codes: Codes) -> Tensor:
    """8-bit pictures [M, 3, R, R] of codes, with their own tokens."""
    parts = []
    for start in range(0, len(codes), BATCH):
        part = codes[slice(start, start + BATCH)]
        parts.append(quantised(generator.synthesis(part.w_plus, part.tokens)))
    return torch.cat(parts)


def inversion_table(
    generator: Generator,
    models: dict[str, tuple[nn.Module, nn.Module | None]],
    sets: dict[str, HeldOut],
    network: MetricNetwork,
) -> list[InversionRow]:
    """Invert and measure.

    Args:
        generator: Whose latents are found.
        models: By name, a base inverter and a refiner or None; the first is what ratios refer to.
        sets: Portraits at the generator's size, by name.
        network: The metric network.
    """
    rows = []
    for pictures, portraits in sets.items():
        reference = None
        for name, (base, refiner) in models.items():
            image = synthesize(generator, invert(portraits.image, generator, base, refiner))
            photo = portraits.image
            measured = measure(network, image, photo, photo, portraits.background)
            reference = reference or measured.mse
            rows.append(InversionRow(pictures, name, measured, measured.mse / reference))
    return rows


def inversion_markdown(rows: list[InversionRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| portraits | model | n | MSE | MSE / base | feature distance | identity | MSE p99 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m = row.measured
        lines.append(
            f"| {row.pictures} | {row.model} | {m.count} | {m.mse:.4f} | {row.mse_ratio:.2f} "
            f"| {m.feature_distance:.4f} | {m.identity:.3f} | {m.mse_p99:.4f} |"
        )
    return "\n".join(lines) + "\n"


def reconstruction_record(row: InversionRow, knows: str) -> dict[str, float | int | str]:
    """What rs-export puts into a bundle, so that it warns of pictures of an unknown kind.

    Args:
        row: The exported model on pictures of the kind that it knows.
        knows: That kind, as in "this bundle knows rendered portraits".
    """
    measured = row.measured
    return {
        "mse_p50": round(measured.mse_p50, 6),
        "mse_p99": round(measured.mse_p99, 6),
        "pictures": measured.count,
        "knows": knows,
    }
