"""Encoders in domains: how pictures are made of what they find, and how those are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rs_runtime.contracts.tokens import TokenSet, read_token_set
from rs_train.demo_recipe import DOMAINS
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.tokens import pack_each
from rs_train.inverters.base import first_latent
from rs_train.inverters.feature_style import (
    FeatureStyleEncoder,
    Move,
    draw,
    feature_replaced,
    generator_shift,
    styles_only,
)
from rs_train.inverters.pooling import pool_to
from rs_train.metrics.distances import masked_error, mean_pairwise_distance
from rs_train.tables.adaptation import text_similarity
from rs_train.tables.heldout import HeldOut
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.measure import BATCH, Measured, measure, quantised

if TYPE_CHECKING:
    pass

MAPPED, E4E, STYLES = "mapped latents", "e4e", "FSE, styles only"
REPLACED, SHIFTED, OURS = "FSE, feature replaced", "FSE, generator shift", "FeatureShift"
ENCODERS = (E4E, STYLES, REPLACED, SHIFTED, OURS)
TRUTH = "true renders"
_PARTS = ("background", "hair", "eyes")
_SEED = 77  # of mapped latents

Way = tuple[str, str, str]  # a domain, what it was shown, its token set in the work folder


@dataclass(frozen=True, kw_only=True)
class DomainRow:
    """One way from a portrait to a picture in a domain.

    Attributes:
        domain: Name of the domain.
        guide: What the domain was shown.
        latents: Where latents and features come from.
        text: Mean cosine of pictures and prompt by CLIP.
        diversity: Mean of 1 - cosine over pairs of pictures by CLIP.
        measured: Numbers against the true renders; identity against the photo. Of mapped latents
            only the distances of distributions mean anything.
        parts: Squared error over each part of the picture.
    """

    domain: str
    guide: str
    latents: str
    text: float
    diversity: float
    measured: Measured
    parts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ReconstructionRow:
    """One encoder on one set of portraits, without a domain.

    Attributes:
        portraits: Name of the set.
        latents: Where latents and features come from.
        measured: Numbers against the portraits.
        parts: Squared error over each part of the picture.
    """

    portraits: str
    latents: str
    measured: Measured
    parts: Mapping[str, float]


class Encoders:
    """Every way from photos to pictures, in a domain or without, by its name."""

    def __init__(self, laboratory: Laboratory) -> None:
        """Read the checkpoints.

        Raises:
            RefineStyleError: One is missing, damaged or of the wrong kind.
        """
        self.generator: Generator = laboratory.generator
        self.e4e = laboratory.model("tables/e4e")
        self.encoder: FeatureStyleEncoder = laboratory.model("feature_encoder")
        self.moves: dict[str, Move] = {
            STYLES: styles_only,
            REPLACED: feature_replaced,
            SHIFTED: generator_shift,
            OURS: laboratory.model("feature_shift").edit,
        }

    @torch.no_grad()
    def pictures(self, latents: str, photos: Tensor, domain: TokenSet | None = None) -> Tensor:
        """8-bit pictures [N, 3, R, R] of photos [N, 3, R, R]; of mapped latents as many."""
        tokens = None if domain is None else pack_each([domain], self.generator.table)
        rng = torch.Generator().manual_seed(_SEED)
        parts = []
        for part in photos.split(BATCH):
            own = tokens and _repeat(tokens, len(part))
            parts.append(quantised(self._draw(latents, part, own, rng)))
        return torch.cat(parts)

    def _draw(
        self, latents: str, photo: Tensor, domain: PackedTokens | None, rng: torch.Generator
    ) -> Tensor:
        generator = self.generator
        if latents == MAPPED:
            z = torch.randn(len(photo), generator.config.z_dim, generator=rng)
            return generator(z, domain)
        if latents == E4E:
            w_plus = first_latent(self.e4e, photo, generator.synthesis)
            return generator.synthesis(w_plus, domain)
        found = self.encoder(pool_to(photo, self.encoder.config.image_size))
        return draw(generator.synthesis, self.encoder, found, domain, move=self.moves[latents])


def domain_rows(laboratory: Laboratory, encoders: Encoders, way: Way) -> list[DomainRow]:
    """Every encoder in one domain, mapped latents first and the true renders last."""
    domain, guide, path = way
    tokens = read_tokens(laboratory, path)
    photos, truth = laboratory.held_out(), laboratory.held_out(domain)
    clip = laboratory.model("clip")
    pictures = {
        latents: encoders.pictures(latents, photos.image, tokens) for latents in (MAPPED, *ENCODERS)
    }
    pictures[TRUTH] = truth.image
    return [
        DomainRow(
            domain=domain,
            guide=guide,
            latents=latents,
            text=text_similarity(clip, image, DOMAINS[domain]),
            diversity=_diversity(clip, image),
            measured=measure(laboratory.metric, image, truth.image, photos.image, truth.background),
            parts=part_errors(image, truth),
        )
        for latents, image in pictures.items()
    ]


def domains_markdown(rows: Sequence[DomainRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| domain | shown | latents | CLIP* | diversity | Fréchet* to truth | LPIPS* to truth "
        "| ID* | background | hair | eyes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m = row.measured
        paired = [f"{m.feature_distance:.3f}", f"{m.identity:.3f}", *_cells(row.parts)]
        if row.latents == MAPPED:
            paired = [""] * len(paired)
        lines.append(
            f"| {row.domain} | {row.guide} | {row.latents} | {row.text:.3f} | {row.diversity:.3f} "
            f"| {m.frechet:.1f} | " + " | ".join(paired) + " |"
        )
    return "\n".join(lines) + "\n"


def reconstruction_markdown(rows: Sequence[ReconstructionRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| portraits | latents | MSE | LPIPS* | ID* | background | hair | eyes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m = row.measured
        cells = [f"{m.mse:.4f}", f"{m.feature_distance:.4f}", f"{m.identity:.3f}"]
        cells += _cells(row.parts)
        lines.append(f"| {row.portraits} | {row.latents} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def part_errors(image: Tensor, truth: HeldOut) -> dict[str, float]:
    """Mean squared error over each part of the pictures, of those pictures that have it."""
    errors = {}
    for name in _PARTS:
        mask = truth.background if name == "background" else truth.parts[name]
        shown = mask.sum(dim=(1, 2, 3)) > 0
        errors[name] = float(masked_error(image[shown], truth.image[shown], mask[shown]).mean())
    return errors


def read_tokens(laboratory: Laboratory, path: str) -> TokenSet:
    """A token set of the work folder."""
    generator = laboratory.generator
    table, fingerprint = generator.table, generator.fingerprint()
    return read_token_set(laboratory.work / path, table=table, fingerprint=fingerprint)


def _repeat(tokens: PackedTokens, count: int) -> PackedTokens:
    return PackedTokens(*(part.expand(count, *part.shape[1:]) for part in tokens))


def _cells(parts: Mapping[str, float]) -> list[str]:
    return [f"{parts[name]:.4f}" for name in _PARTS]


@torch.no_grad()
def _diversity(clip: Any, image: Tensor) -> float:
    return float(
        mean_pairwise_distance(torch.cat([clip.embed_image(p) for p in image.split(BATCH)]))
    )


def reconstruction_row(
    laboratory: Laboratory, encoders: Encoders, latents: str, name: str, portraits: HeldOut
) -> ReconstructionRow:
    """One encoder on the portraits of a set."""
    photo = portraits.image
    image = encoders.pictures(latents, photo)
    measured = measure(laboratory.metric, image, photo, photo, portraits.background)
    return ReconstructionRow(
        portraits=name, latents=latents, measured=measured, parts=part_errors(image, portraits)
    )
