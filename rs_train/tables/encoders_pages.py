"""Pages of encoders in domains: quality and diversity, reconstruction, and the plane of both.

After "Developing effective StyleGAN encoders for domain adaptation" (a thesis), Tables 4.1 to 4.3,
on rendered portraits, whose look in a domain is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rs_runtime.diagnostics.sheet import sheet
from rs_train.demo_recipe import DOMAINS
from rs_train.grids import to_pixels
from rs_train.tables.claims import Claim
from rs_train.tables.encoders import (
    E4E,
    ENCODERS,
    MAPPED,
    OURS,
    REPLACED,
    SHIFTED,
    DomainRow,
    Encoders,
    Way,
    domain_rows,
    domains_markdown,
    read_tokens,
    reconstruction_markdown,
    reconstruction_row,
)
from rs_train.tables.heldout import HeldOut
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.measure import Measured
from rs_train.tables.page import Result
from rs_train.tables.recipe import CEILING, ONE_SHOT, TEXT, result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IN_DOMAIN, EXTRAS = "in domain", "with extras"
TEXT_GUIDED: tuple[Way, ...] = (
    *((domain, "text", result(TEXT, domain)) for domain in ("sketch", "cartoon")),
    *((domain, "text, 400 pictures", f"models/domains/{domain}.tokens") for domain in DOMAINS),
)
PICTURE_GUIDED: tuple[Way, ...] = (
    *((domain, "one picture", result(ONE_SHOT, domain)) for domain in ("sketch", "cartoon")),
    *((domain, "300 pairs", result(CEILING, domain)) for domain in ("sketch", "cartoon")),
)
# What the tables measure, by the recipes' names.
STAGES = (
    *("generator", "base_inverter", "metric", "clip", "feature_encoder", "feature_shift"),
    "table e4e",
)
TEXT_STAGES = (
    *(f"table {TEXT} {domain}" for domain in ("sketch", "cartoon")),
    *(f"domains {domain}" for domain in DOMAINS),
)
PICTURE_STAGES = tuple(
    f"table {way} {domain}" for way in (ONE_SHOT, CEILING) for domain in ("sketch", "cartoon")
)

_SHOWN = (3, 21)  # portraits of the pictures
_JUDGED = """\
{count} held-out portraits that no training has seen, 8-bit, 128 x 128. LPIPS\\*, Fréchet\\* and
ID\\* are taken on this project's own metric network, which no loss has seen; CLIP\\* is the mean
cosine of picture and prompt by the small CLIP that guided the text rows, diversity the mean of
1 − cosine over pairs of pictures by the same network. Background, hair and eyes are squared errors
over those parts alone, known from the renderer's masks."""
_USES = """\
Feature-Style-Encoder (FSE) gives styles and a feature map F, the input of convolution 5 (16 x 16).
In a domain its styles alone are drawn; or F replaces the generator's own map; or F moves as the
generator's own map does, F + G(w, domain) − G(w); or FeatureShift makes the new map of F and that
difference. e4e had 1,200 steps of 8 pictures at 64 x 64, the feature encoder 600 at
128 x 128."""
_IN_DOMAINS = """\
Every picture is compared with the true render of the same scene in the domain. Mapped latents are
random heads, so that only their distribution can be."""


def quality(laboratory: Laboratory, ways: Sequence[Way], guided: str) -> Result:
    """Quality and diversity in domains (Tables 4.1 and 4.2)."""
    encoders = _encoders(laboratory)
    rows = [row for way in ways for row in _rows(laboratory, way)]
    return Result(
        title=f"Encoders in {guided}-guided domains: quality and diversity",
        about="\n\n".join((_judged(laboratory), _USES, _IN_DOMAINS)),
        rows=rows,
        table=domains_markdown(rows),
        claims=_quality_claims(rows),
        pictures={
            f"{domain}-{guide.replace(', ', '-').replace(' ', '-')}": _domain_picture(
                laboratory, encoders, (domain, guide, path)
            )
            for domain, guide, path in ways
        },
    )


def reconstruction(laboratory: Laboratory) -> Result:
    """Reconstruction without a domain, and against it closeness in domains (Table 4.3)."""
    encoders = _encoders(laboratory)
    sets = {IN_DOMAIN: laboratory.held_out(), EXTRAS: laboratory.held_out(extras=True)}
    rows = [
        reconstruction_row(laboratory, encoders, latents, name, portraits)
        for name, portraits in sets.items()
        for latents in ENCODERS
        if latents != SHIFTED  # without a domain it is the feature replaced
    ]
    in_domains = [row for way in TEXT_GUIDED + PICTURE_GUIDED for row in _rows(laboratory, way)]
    own = {row.latents: row.measured for row in rows if row.portraits == IN_DOMAIN}
    own[SHIFTED] = own[REPLACED]
    places = {latents: _place(own[latents], in_domains, latents) for latents in ENCODERS}
    return Result(
        title="Encoders: reconstruction, and closeness to domains",
        about=f"{_judged(laboratory)}\n\n{_USES}",
        rows=rows,
        table=reconstruction_markdown(rows),
        claims=_plane_claims(places),
        pictures={
            "plane": _draw_plane(places),
            "portraits": _reconstruction_picture(encoders, sets),
        },
    )


_CLOSENESS = {
    "text": "1 − CLIP* to the prompt",
    "truth": "LPIPS* to the true renders",
    "frechet": "Fréchet* to the true renders",
}


@dataclass(frozen=True)
class Place:
    """Where an encoder lies between reconstruction and closeness; smaller is better in all.

    Attributes:
        reconstruction: LPIPS* of portraits without a domain.
        text: 1 - CLIP*, averaged over domains.
        truth: LPIPS* to the true renders, averaged over domains.
        frechet: Fréchet distance to the true renders, averaged over domains.
    """

    reconstruction: float
    text: float
    truth: float
    frechet: float


def below_line(place: Place, first: Place, second: Place, figure: str) -> tuple[float, float]:
    """A place's figure, and that of the line through two others at the same reconstruction."""
    slope = (getattr(second, figure) - getattr(first, figure)) / (
        second.reconstruction - first.reconstruction
    )
    on_line = getattr(first, figure) + slope * (place.reconstruction - first.reconstruction)
    return getattr(place, figure), on_line


@cache
def _encoders(laboratory: Laboratory) -> Encoders:
    return Encoders(laboratory)


@cache
def _rows(laboratory: Laboratory, way: Way) -> list[DomainRow]:
    """Measured once, however many pages show them."""
    return domain_rows(laboratory, _encoders(laboratory), way)


def _judged(laboratory: Laboratory) -> str:
    return _JUDGED.format(count=laboratory.count)


def _place(own: Measured, rows: Sequence[DomainRow], latents: str) -> Place:
    in_domains = [row for row in rows if row.latents == latents]
    return Place(
        own.feature_distance,
        float(np.mean([1 - row.text for row in in_domains])),
        float(np.mean([row.measured.feature_distance for row in in_domains])),
        float(np.mean([row.measured.frechet for row in in_domains])),
    )


def _quality_claims(rows: Sequence[DomainRow]) -> list[Claim]:
    def mean(latents: str, number: Callable[[DomainRow], float]) -> float:
        return float(np.mean([number(row) for row in rows if row.latents == latents]))

    def frechet(row: DomainRow) -> float:
        return row.measured.frechet

    def truth(row: DomainRow) -> float:
        return row.measured.feature_distance

    return [
        Claim(
            f"{OURS} is closer to the domains than {name} ({figure})",
            mean(OURS, number),
            "<",
            mean(name, number),
        )
        for name in (REPLACED, SHIFTED)
        for figure, number in (("Fréchet\\*", frechet), ("LPIPS\\* to truth", truth))
    ]


def _plane_claims(places: Mapping[str, Place]) -> list[Claim]:
    claims = []
    for figure, words in _CLOSENESS.items():
        for name in (SHIFTED, OURS):
            value, on_line = below_line(places[name], places[REPLACED], places[E4E], figure)
            by = words.replace("*", "\\*")
            statement = f"{name} lies on the better side of the line joining FSE and e4e ({by})"
            claims.append(Claim(statement, value, "<", on_line))
    return claims


def _draw_plane(places: Mapping[str, Place]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 4.6), dpi=120, layout="constrained")
    for axes, (name, words) in zip(figure.subplots(1, 3), _CLOSENESS.items(), strict=True):
        ends = [places[REPLACED], places[E4E]]
        axes.plot(
            [p.reconstruction for p in ends],
            [getattr(p, name) for p in ends],
            "--",
            color="#999999",
        )
        for latents, place in places.items():
            x, y = place.reconstruction, getattr(place, name)
            axes.plot(x, y, "o", color="#d55e00" if latents == OURS else "#0072b2")
            axes.annotate(latents, (x, y), xytext=(6, 4), textcoords="offset points")
        axes.invert_xaxis()
        axes.invert_yaxis()
        axes.margins(0.35, 0.2)
        axes.set_title(words)
        axes.set_xlabel("LPIPS* of reconstructions (better to the right)")
        axes.set_ylabel("mean over domains (better upwards)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _domain_picture(laboratory: Laboratory, encoders: Encoders, way: Way) -> NDArray[np.uint8]:
    domain, _, path = way
    indices = list(_SHOWN)
    photos = laboratory.held_out().image[indices]
    tokens = read_tokens(laboratory, path)
    columns = {"portrait": photos}
    columns |= {name: encoders.pictures(name, photos, tokens) for name in (MAPPED, *ENCODERS)}
    return _sheet(columns | {"true render": laboratory.held_out(domain).image[indices]})


def _reconstruction_picture(encoders: Encoders, sets: Mapping[str, HeldOut]) -> NDArray[np.uint8]:
    photos = torch.cat([portraits.image[list(_SHOWN)] for portraits in sets.values()])
    names = [name for name in ENCODERS if name != SHIFTED]
    return _sheet({"portrait": photos} | {name: encoders.pictures(name, photos) for name in names})


def _sheet(columns: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    pixels = {name: to_pixels(column) for name, column in columns.items()}
    count = len(next(iter(pixels.values())))
    rows = [[(name, column[i]) for name, column in pixels.items()] for i in range(count)]
    return sheet(rows, height=128)
