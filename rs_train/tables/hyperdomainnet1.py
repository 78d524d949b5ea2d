"""HyperDomainNet's Table 1 in miniature: how much must change, and what in-domain angles are for.

Every row is trained by the demo's recipe for text and references, with its own parameterisation and
rate alone. Some rows have no references, as the published ones; a small CLIP leads those astray.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rs_runtime.contracts.tokens import TokenSet, read_token_set
from rs_runtime.diagnostics.sheet import sheet
from rs_train.checkpoint import load_model
from rs_train.domains.codes import invert
from rs_train.generator import Generator
from rs_train.grids import to_pixels
from rs_train.metrics.distances import mean_pairwise_distance
from rs_train.metrics.precision_recall import precision_recall
from rs_train.stages import Stage
from rs_train.tables.adaptation import Heads, restyled, text_similarity
from rs_train.tables.claims import Claim
from rs_train.tables.domains import PERFECT, SOURCE
from rs_train.tables.heldout import HeldOut
from rs_train.tables.inversion import synthesize
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.measure import BATCH, Measured, measure
from rs_train.tables.page import Result
from rs_train.tables.recipe import ADAPTED, run_folder, stem
from rs_train.tasks.domain import FAMILIES, new_change
from rs_train.tasks.domain_config import DomainTraining

STEPS, BATCH_SIZE = 250, 4
RATES = {
    "domain_modulation": 0.03,
    "style_space": 0.03,
    "tokens": 0.015,
    "affine_plus": 0.005,
    "full": 0.002,
}
ANGLE = 2.0  # weight of the in-domain angles, where they count
TEXT, ANCHORED = "text", "text, 400 pictures"
_OF_GUIDE = {
    TEXT: ("weights.direction=1.0", "weights.structure=0.0", "weights.penalty=0.0"),
    ANCHORED: ("weights.direction=0.5", "weights.structure=1.0"),
}
_SETTINGS = (
    *(f"loop.steps={STEPS}", f"loop.batch_size={BATCH_SIZE}", "loop.sample_every=125"),
    *("pool.random_heads=128", "weights.identity=0.0"),
)
_SHOWN = (3, 8, 21)  # portraits of the pictures
_ABOUT = """\
{count} held-out portraits are inverted by the demo's two-stage model, restyled, and compared with
the true renders of the same scenes in the domain. Fréchet\\*, precision\\* and recall\\* (k = 3),
LPIPS\\* and ID\\* (to the photo) are taken on this project's own metric network, which no loss has
seen; CLIP\\* is the cosine of picture and prompt and diversity\\* the mean of 1 - cosine over pairs
of pictures, both by the small CLIP that guides the rows. All rows have the same heads and {steps}
batches of {batch}; those with pictures the same losses, those by text the direction alone, as
published. "angle" adds the in-domain angle loss with weight {angle}."""


class Trained(NamedTuple):
    """A row that is trained, of a domain.

    Attributes:
        guide: What it is shown.
        family: Its parameterisation.
        angle: Whether in-domain angles count.
    """

    guide: str
    family: str
    angle: bool

    @property
    def name(self) -> str:
        """What its stage is called, without the domain."""
        shown = "text only" if self.guide == TEXT else "anchored"
        return f"{shown} {self.family}{' angle' if self.angle else ''}"

    def result(self, domain: str) -> str:
        """Where what it made lies in the work folder."""
        return f"models/tables/{stem(self.name)}-{domain}{FAMILIES[self.family].suffix}"


TRAINED = (
    *(Trained(TEXT, "domain_modulation", angle) for angle in (False, True)),
    Trained(TEXT, "full", False),
    *(
        Trained(ANCHORED, family, angle)
        for family in ("domain_modulation", "style_space", "tokens", "full")
        for angle in (False, True)
    ),
    Trained(ANCHORED, "affine_plus", False),
)


def stages() -> list[Stage]:
    """The trainings."""
    return [_stage(domain, row) for domain in ADAPTED for row in TRAINED]


def _stage(domain: str, row: Trained) -> Stage:
    run = run_folder(f"{row.name} {domain}")
    references = ("--references", f"data/references-{domain}") if row.guide == ANCHORED else ()
    argv = (
        *("domain", "--preset", "demo_domain", "--parameterisation", row.family, "--name", domain),
        *("--prompt", ADAPTED[domain], "--clip", "models/clip.safetensors", *references),
        *("--generator", "models/generator.safetensors", "--arcface", "models/arcface.safetensors"),
        *("--run", run, "--out", row.result(domain)),
    )
    settings: Sequence[str] = (
        *_SETTINGS,
        *_OF_GUIDE[row.guide],
        f"training.lr={RATES[row.family]}",
        *((f"weights.in_domain_angle={ANGLE}",) if row.angle else ()),
    )
    sets = (part for setting in settings for part in ("--set", setting))
    return Stage(f"table {row.name} {domain}", (*argv, *sets), run=run)


STAGES = (
    *("generator", "base_inverter", "refiner", "metric", "clip"),
    *(stage.name for stage in stages()),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to make pictures in a domain.

    Attributes:
        domain: Name of the domain.
        guide: What the way was shown; empty of the source and of the true renders.
        family: What learnt, or whose pictures these are.
        angle: Whether in-domain angles counted.
        trained: Numbers that were optimised.
        measured: Numbers against the true renders; identity against the photo.
        precision: Share of the pictures that lie among the true renders.
        recall: Share of the true renders that lie among the pictures.
        text: Mean cosine of pictures and prompt by CLIP.
        diversity: Mean of 1 - cosine over pairs of pictures by CLIP.
    """

    domain: str
    guide: str
    family: str
    angle: bool
    trained: int
    measured: Measured
    precision: float
    recall: float
    text: float
    diversity: float


def make(laboratory: Laboratory) -> Result:
    """Measure every row of every domain."""
    generator, photos = laboratory.generator, laboratory.held_out()
    codes = invert(
        photos.image, generator, laboratory.model("base_inverter"), laboratory.model("refiner")
    )
    heads = Heads(generator, codes, photos, laboratory.metric, laboratory.model("clip"))
    rows: list[Row] = []
    pictures: dict[str, NDArray[np.uint8]] = {}
    for domain, prompt in ADAPTED.items():
        truth = laboratory.held_out(domain)
        shown = {"portrait": photos.image[list(_SHOWN)]}
        for key, image in _images(heads, laboratory.work, domain, truth).items():
            rows.append(_row(heads, domain, prompt, truth, key, image))
            if not isinstance(key, Trained) or not key.angle:
                shown[_caption(key)] = image[list(_SHOWN)]
        pictures[domain] = picture(shown)
    about = _ABOUT.format(count=len(photos.image), steps=STEPS, batch=BATCH_SIZE, angle=ANGLE)
    return Result(
        title="HyperDomainNet, Table 1: what must change for a domain",
        about=about,
        rows=rows,
        table=markdown(rows),
        claims=claims(rows),
        pictures=pictures,
    )


def _images(
    heads: Heads, work: Path, domain: str, truth: HeldOut
) -> Mapping[str | Trained, Tensor]:
    """Pictures [N, 3, R, R] of the source, of every row, and the true renders."""
    found: dict[str | Trained, Tensor] = {SOURCE: synthesize(heads.generator, heads.codes)}
    for row in TRAINED:
        found[row] = restyled(heads, read_result(heads.generator, work / row.result(domain)))
    return found | {PERFECT: truth.image}


def read_result(generator: Generator, path: Path) -> TokenSet | Generator:
    """What a row made: a token set of this generator, or a generator."""
    if path.suffix == ".tokens":
        return read_token_set(path, table=generator.table, fingerprint=generator.fingerprint())
    return load_model(path, expect="generator")


def _row(
    heads: Heads, domain: str, prompt: str, truth: HeldOut, key: str | Trained, image: Tensor
) -> Row:
    row = key if isinstance(key, Trained) else Trained("", key, False)
    seen, wanted = (embedded(heads.metric.embed, x).numpy() for x in (image, truth.image))
    precision, recall = precision_recall(seen, wanted)
    return Row(
        domain=domain,
        guide=row.guide,
        family=row.family,
        angle=row.angle,
        trained=trained_numbers(heads.generator, row.family) if row.guide else 0,
        measured=measure(heads.metric, image, truth.image, heads.photos.image, truth.background),
        precision=precision,
        recall=recall,
        text=text_similarity(heads.clip, image, prompt),
        diversity=float(mean_pairwise_distance(embedded(heads.clip.embed_image, image))),
    )


def trained_numbers(generator: Generator, family: str) -> int:
    """How many numbers of a parameterisation are optimised, with the settings of the rows."""
    change = new_change(generator, DomainTraining(parameterisation=family))
    return sum(p.numel() for p in change.parameters() if p.requires_grad)


@torch.no_grad()
def embedded(embed: Any, image: Tensor) -> Tensor:
    """Vectors [N, D] of pictures [N, 3, R, R], some at a time."""
    return torch.cat([embed(part) for part in image.split(BATCH)])


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page of results."""
    lines = [
        "| domain | shown | what learns | angle | trained numbers | Fréchet\\* | precision\\* "
        "| recall\\* | LPIPS\\* | ID\\* | CLIP\\* | diversity\\* |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m = row.measured
        lines.append(
            f"| {row.domain} | {row.guide} | {row.family} | {'yes' if row.angle else ''} "
            f"| {f'{row.trained:,}' if row.trained else ''} | {m.frechet:.1f} "
            f"| {row.precision:.2f} | {row.recall:.2f} | {m.feature_distance:.3f} "
            f"| {m.identity:.3f} | {row.text:.3f} | {row.diversity:.3f} |"
        )
    return "\n".join(lines) + "\n"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """HyperDomainNet's claims: few numbers are enough, and angles keep a domain diverse."""
    found = {(row.domain, Trained(row.guide, row.family, row.angle)): row for row in rows}
    made = []
    for domain in ADAPTED:
        few = found[domain, Trained(ANCHORED, "domain_modulation", False)]
        full = found[domain, Trained(ANCHORED, "full", False)]
        made += [
            Claim(
                f"{domain}: modulation is within 5 % of full fine-tuning (Fréchet\\*, ratio)",
                few.measured.frechet / full.measured.frechet,
                "<=",
                1.05,
            ),
            Claim(
                f"{domain}: modulation is within 5 % of full fine-tuning (CLIP\\*, ratio)",
                few.text / full.text,
                ">=",
                0.95,
            ),
        ]
        made += [
            Claim(
                f"{domain}, {with_angle.guide}: angles raise the diversity\\* of "
                f"{with_angle.family}",
                found[domain, with_angle].diversity,
                ">=",
                found[domain, with_angle._replace(angle=False)].diversity,
            )
            for with_angle in TRAINED
            if with_angle.angle
        ]
    return made


def _caption(key: str | Trained) -> str:
    if isinstance(key, str):
        return key
    name = key.family.replace("_", " ")
    return f"{name}, text" if key.guide == TEXT else name


def picture(shown: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """A column a way, a row a portrait."""
    pixels = {name: to_pixels(column) for name, column in shown.items()}
    count = len(next(iter(pixels.values())))
    rows = [[(name, column[i]) for name, column in pixels.items()] for i in range(count)]
    return sheet(rows, height=next(iter(shown.values())).shape[-1])
