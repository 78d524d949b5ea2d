"""Table of domains: inverted and restyled portraits against the true renders of the domain."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rs_runtime.contracts.tokens import TokenSet
from rs_train.domains.codes import Codes
from rs_train.domains.parameterisation import add_domain
from rs_train.generator import Generator, PackedTokens, pack
from rs_train.perceptual.metric import MetricNetwork
from rs_train.tables.heldout import HeldOut
from rs_train.tables.inversion import synthesize
from rs_train.tables.measure import BATCH, Measured, measure, quantised

SOURCE, CEILING, PERFECT = "unadapted source", "paired ceiling", "true render"


@dataclass(frozen=True)
class DomainRow:
    """One way to a domain.

    Attributes:
        domain: Name of the domain.
        model: How the pictures were made.
        measured: Their numbers against the true renders; identity against the photo.
        feature_span: Share of the way from the source to the ceiling, in feature distance.
        frechet_span: The same in Fréchet distance.
    """

    domain: str
    model: str
    measured: Measured
    feature_span: float | None
    frechet_span: float | None


@torch.no_grad()
def restyle(generator: Generator, codes: Codes, token_set: TokenSet) -> Tensor:
    """8-bit pictures [M, 3, R, R] of inverted portraits in a domain."""
    packed = pack([token_set], generator.table)
    parts = []
    for start in range(0, len(codes), BATCH):
        part = codes[slice(start, start + BATCH)]
        count = len(part)
        domain = PackedTokens(*(t.expand(count, *t.shape[1:]) for t in packed))
        tokens = add_domain(part.tokens, domain)
        parts.append(quantised(generator.synthesis(part.w_plus, tokens)))
    return torch.cat(parts)


def domain_table(
    name: str,
    generator: Generator,
    codes: Codes,
    photos: HeldOut,
    truth: HeldOut,
    ways: dict[str, TokenSet],
    network: MetricNetwork,
) -> list[DomainRow]:
    """Restyle and measure.

    Args:
        name: Name of the domain.
        generator: The generator.
        codes: The inverted photos.
        photos: The portraits.
        truth: The same scenes rendered in the domain.
        ways: Token sets by name, `CEILING` among them.
        network: The metric network.

    Returns:
        A row for the unadapted source, one a way, and one for the true renders themselves, whose
        identity shows how much of it the domain leaves.
    """
    pictures = {SOURCE: synthesize(generator, codes)}
    pictures |= {way: restyle(generator, codes, tokens) for way, tokens in ways.items()}
    pictures[PERFECT] = truth.image
    measured = {
        way: measure(network, image, truth.image, photos.image, truth.background)
        for way, image in pictures.items()
    }
    source, ceiling = measured[SOURCE], measured[CEILING]
    return [
        DomainRow(
            name,
            way,
            numbers,
            span(source.feature_distance, numbers.feature_distance, ceiling.feature_distance),
            span(source.frechet, numbers.frechet, ceiling.frechet),
        )
        for way, numbers in measured.items()
    ]


def span(source: float, ours: float, ceiling: float) -> float | None:
    """(source - ours) / (source - ceiling): 0 is no change, 1 is as good as the ceiling.

    None where the ceiling itself is no closer to the truth than the source.
    """
    return (source - ours) / (source - ceiling) if ceiling < source else None


def domains_markdown(rows: list[DomainRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| domain | pictures | n | feature distance | span | way | Fréchet | span | way | kernel "
        "| MSE | identity | background MSE |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    sources = {row.domain: row.measured for row in rows if row.model == SOURCE}
    for row in rows:
        m, source = row.measured, sources[row.domain]
        spans = ["–" if s is None else f"{s:.2f}" for s in (row.feature_span, row.frechet_span)]
        ways = [
            f"{1 - m.feature_distance / source.feature_distance:.2f}",
            f"{1 - m.frechet / source.frechet:.2f}",
        ]
        lines.append(
            f"| {row.domain} | {row.model} | {m.count} | {m.feature_distance:.4f} "
            f"| {spans[0]} | {ways[0]} | {m.frechet:.3f} | {spans[1]} | {ways[1]} "
            f"| {m.kernel:.4f} | {m.mse:.4f} | {m.identity:.3f} | {m.background:.4f} |"
        )
    return "\n".join(lines) + "\n"
