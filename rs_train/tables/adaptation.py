"""Table of domain adaptation: ways to a domain, each against the true renders of the same heads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rs_runtime.contracts.tokens import TokenSet
from rs_runtime.diagnostics.sheet import sheet
from rs_train.domains.codes import Codes
from rs_train.generator import Generator
from rs_train.grids import to_pixels
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.metric import MetricNetwork
from rs_train.tables.domains import PERFECT, SOURCE, restyle
from rs_train.tables.heldout import HeldOut
from rs_train.tables.inversion import synthesize
from rs_train.tables.measure import BATCH, Measured, measure


@dataclass(frozen=True)
class Way:
    """A way to a domain.

    Attributes:
        name: What the table calls it.
        guide: What it was shown of the domain.
        result: What it made: a token set, or a generator.
        seconds: How long that took.
    """

    name: str
    guide: str
    result: TokenSet | Generator
    seconds: float


@dataclass(frozen=True, kw_only=True)
class AdaptationRow:
    """One way to one domain.

    Attributes:
        domain: Name of the domain.
        way: How the pictures were made.
        guide: What it was shown of the domain.
        trained: Numbers that were optimised.
        seconds: How long that took.
        text: Cosine of pictures and prompt by the project's CLIP, which guides some of the ways.
        measured: Numbers against the true renders; identity against the photo.
    """

    domain: str
    way: str
    guide: str
    trained: int
    seconds: float
    text: float
    measured: Measured


@dataclass(frozen=True)
class Heads:
    """The portraits that are restyled.

    Attributes:
        generator: The unadapted generator.
        codes: Their latents and tokens.
        photos: The portraits.
        metric: The network that no loss has seen.
        clip: What compares pictures with a prompt.
    """

    generator: Generator
    codes: Codes
    photos: HeldOut
    metric: MetricNetwork
    clip: ClipGuide


def adaptation_rows(
    heads: Heads, domain: str, prompt: str, truth: HeldOut, ways: Sequence[Way]
) -> list[AdaptationRow]:
    """Measure the unadapted source, every way, and the true renders themselves.

    Args:
        heads: The portraits.
        domain: Name of the domain.
        prompt: Its text.
        truth: The same scenes rendered in the domain.
        ways: The ways.
    """
    named = {way.name: way for way in ways}
    rows = []
    for name, image in _pictures(heads, truth, ways).items():
        way = named.get(name)
        rows.append(
            AdaptationRow(
                domain=domain,
                way=name,
                guide=way.guide if way else "",
                trained=trained_numbers(way.result, heads.generator) if way else 0,
                seconds=way.seconds if way else 0.0,
                text=text_similarity(heads.clip, image, prompt),
                measured=measure(
                    heads.metric, image, truth.image, heads.photos.image, truth.background
                ),
            )
        )
    return rows


def adaptation_markdown(rows: Sequence[AdaptationRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| domain | way | shown | LPIPS* to truth | Fréchet* to truth | ID* | background MSE "
        "| CLIP* | trained numbers | training |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m = row.measured
        trained = f"{row.trained:,}" if row.trained else ""
        minutes = f"{row.seconds / 60:.0f} min" if row.seconds else ""
        lines.append(
            f"| {row.domain} | {row.way} | {row.guide} | {m.feature_distance:.4f} "
            f"| {m.frechet:.1f} | {m.identity:.3f} | {m.background:.4f} | {row.text:.3f} "
            f"| {trained} | {minutes} |"
        )
    return "\n".join(lines) + "\n"


def adaptation_picture(
    heads: Heads, truth: HeldOut, ways: Sequence[Way], indices: Sequence[int]
) -> NDArray[np.uint8]:
    """Some portraits by every way, uint8 [H, W, 3]."""
    some = list(indices)
    chosen = Heads(
        heads.generator,
        heads.codes[some],
        HeldOut(heads.photos.image[some], heads.photos.background[some]),
        heads.metric,
        heads.clip,
    )
    own_truth = HeldOut(truth.image[some], truth.background[some])
    columns = {"portrait": chosen.photos.image} | _pictures(chosen, own_truth, ways)
    pixels = {name: to_pixels(column) for name, column in columns.items()}
    rows = [[(name, column[i]) for name, column in pixels.items()] for i in range(len(some))]
    return sheet(rows, height=truth.image.shape[-1])


def trained_numbers(result: TokenSet | Generator, source: Generator) -> int:
    """How many numbers were optimised.

    Of a token set those of P and Q and their scales; of a generator those of the tensors that
    differ from the source's.
    """
    if isinstance(result, TokenSet):
        table = source.table
        return result.rank * (table.sum_in + table.sum_out + 2 * len(table.convs))
    before = source.state_dict()
    return sum(
        value.numel()
        for name, value in result.state_dict().items()
        if not torch.equal(value, before[name])
    )


def _pictures(heads: Heads, truth: HeldOut, ways: Sequence[Way]) -> dict[str, Tensor]:
    pictures = {SOURCE: synthesize(heads.generator, heads.codes)}
    pictures |= {way.name: restyled(heads, way.result) for way in ways}
    return pictures | {PERFECT: truth.image}


def restyled(heads: Heads, result: TokenSet | Generator) -> Tensor:
    """The portraits in a domain, 8-bit pictures [N, 3, R, R]."""
    if isinstance(result, Generator):
        return synthesize(result, heads.codes)
    return restyle(heads.generator, heads.codes, result)


@torch.no_grad()
def text_similarity(clip: ClipGuide, image: Tensor, prompt: str) -> float:
    text = clip.embed_prompt(prompt).mean(dim=0)
    text = text / text.norm()
    return float(torch.cat([clip.embed_image(part) @ text for part in image.split(BATCH)]).mean())
