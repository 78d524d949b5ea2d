"""HyperDomainNet's many domains in miniature: seen and unseen looks by one network, and ablations.

Two networks of about a million numbers are trained alike, one for the domain modulation and one for
tokens; the others are the first one's ablations, at a smaller budget that they share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from rs_train.demo_recipe import HYPERNETWORK
from rs_train.domains.codes import Codes
from rs_train.domains.hypernetwork import HyperDomainNet, require_match
from rs_train.domains.parameterisation import add_domain
from rs_train.generator import Generator, PackedTokens
from rs_train.metrics.distances import mean_pairwise_distance
from rs_train.metrics.precision_recall import precision_recall
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.metric import MetricNetwork
from rs_train.pixels import from_levels
from rs_train.portraits import render, sample_scene
from rs_train.portraits.domains import domain_style
from rs_train.portraits.looks import HELD_OUT, SEEN
from rs_train.stages import Stage
from rs_train.tables.adaptation import text_similarity
from rs_train.tables.heldout import HeldOut
from rs_train.tables.inversion import synthesize
from rs_train.tables.measure import BATCH, Measured, measure, quantised
from rs_train.tables.recipe import checkpoint, run_folder

# What each training differs in from the demo's own, which predicts tokens.
_MODULATION = ("network.predicts=modulation", "network.width=160")
_SHORT = ("loop.steps=100",)
TOKENS, MODULATION = "tokens", "modulation"
FULL, NO_ANGLE, NO_TARGET = "modulation, short", "no in-domain angle", "no target-target direction"
TEXT_ONLY = "modulation, text only"
TRAININGS: Mapping[str, tuple[str, ...]] = {
    MODULATION: _MODULATION,
    FULL: (*_MODULATION, *_SHORT),
    NO_ANGLE: (*_MODULATION, *_SHORT, "weights.in_domain_angle=0.0"),
    NO_TARGET: (*_MODULATION, *_SHORT, "weights.target_direction=0.0"),
    TEXT_ONLY: (
        *(*_MODULATION, *_SHORT, "training.mixtures=4"),
        *("weights.direction=1.0", "weights.target_direction=0.4"),
    ),
}
ABLATED = (FULL, NO_ANGLE, NO_TARGET, TEXT_ONLY)
SOURCE, NEAREST, PERFECT = "unadapted source", "nearest seen look, tokens", "true render"
GROUPS = {"seen": SEEN, "held out": HELD_OUT}
REFERENCES, _REFERENCE_SEED = 4, 9002  # pictures that stand for a look, of scenes of their own


def stages() -> list[Stage]:
    """The trainings."""
    return [_stage(name, settings) for name, settings in TRAININGS.items()]


def stage_name(network: str) -> str:
    """What the stage that trains a network is called."""
    return "hypernetwork" if network == TOKENS else f"table hypernetwork {network}"


def path_of(network: str) -> str:
    """Where a network lies in the work folder."""
    return "models/hypernetwork.safetensors" if network == TOKENS else checkpoint(_file(network))


def _file(network: str) -> str:
    return f"hypernetwork-{network.replace(',', '')}"


def _stage(network: str, settings: tuple[str, ...]) -> Stage:
    run = run_folder(_file(network))
    options = HYPERNETWORK
    if network == TEXT_ONLY:  # what follows --pictures is its folder
        place = options.index("--pictures")
        options = (*options[:place], *options[place + 2 :])
    argv = (*options, "--run", run, "--out", path_of(network))
    sets = (part for setting in settings for part in ("--set", setting))
    return Stage(stage_name(network), (*argv, *sets), run=run)


@dataclass(frozen=True, kw_only=True)
class LooksRow:
    """One way to a group of looks; distances of distributions are those of all its pictures.

    Attributes:
        group: "seen" or "held out".
        network: What made the domains.
        given: What it was given of a look: "text", "picture" or nothing.
        looks: Number of looks.
        text: Cosine of pictures and prompt by the CLIP that the networks read, mean over looks.
        diversity: Mean of 1 - cosine over pairs of a look's pictures, by the same CLIP.
        precision: Share of the pictures that lie among the true renders.
        recall: Share of the true renders that lie among the pictures.
        way: Share of the way from the source to the true renders, in feature distance.
        measured: Numbers against the true renders; identity against the photo.
    """

    group: str
    network: str
    given: str
    looks: int
    text: float
    diversity: float
    precision: float
    recall: float
    way: float
    measured: Measured


class Look(NamedTuple):
    """A look as the networks are given it.

    Attributes:
        name: A name that `domain_style` knows.
        prompt: Its text.
        truth: True renders of the portraits.
        references: Pictures [K, 3, S, S] in [-1, 1] of other scenes in the look.
    """

    name: str
    prompt: str
    truth: HeldOut
    references: Tensor


@dataclass(frozen=True)
class Portraits:
    """The portraits that are restyled, and what looks at them.

    Attributes:
        generator: The unadapted generator.
        codes: Their latents and tokens.
        photos: The portraits.
        metric: The network that no loss has seen.
        clip: What the networks read.
    """

    generator: Generator
    codes: Codes
    photos: HeldOut
    metric: MetricNetwork
    clip: ClipGuide


WayName = tuple[str, str]  # a network or what else makes pictures, and what it is given of a look
Way = Callable[[Look], Tensor]  # 8-bit pictures [N, 3, R, R] of the portraits in a look


def prompt_of(look: str) -> str:
    """The text of a look."""
    return f"{domain_style(look).phrase} of a person"


def references_of(look: str, size: int) -> Tensor:
    """Pictures [K, 3, S, S] in [-1, 1] of scenes of their own in a look."""
    scenes = [sample_scene(_REFERENCE_SEED, index) for index in range(REFERENCES)]
    pixels = [torch.from_numpy(render(scene, size, look).image) for scene in scenes]
    return from_levels(torch.stack(pixels).permute(0, 3, 1, 2))


def ways(portraits: Portraits, networks: Mapping[str, HyperDomainNet]) -> dict[WayName, Way]:
    """Every way to a look by (network, what it is given); of ablations the text alone is given.

    Raises:
        IncompatibleError: A network was trained with another generator or CLIP.
    """
    for network in networks.values():
        require_match(network, portraits.generator, portraits.clip)
    source = synthesize(portraits.generator, portraits.codes)
    found: dict[WayName, Way] = {(SOURCE, ""): lambda look: source}
    for name, network in networks.items():
        found[name, "text"] = _by_text(portraits, network, lambda look: look.prompt)
        if name not in ABLATED:
            found[name, "picture"] = _by_picture(portraits, network)
    nearest = _by_text(portraits, networks[TOKENS], lambda look: _nearest(portraits.clip, look))
    return found | {(NEAREST, ""): nearest, (PERFECT, ""): lambda look: look.truth.image}


def _by_text(portraits: Portraits, network: HyperDomainNet, text: Callable[[Look], str]) -> Way:
    def draw(look: Look) -> Tensor:
        embedding = portraits.clip.embed_text([text(look)])
        return _restyled(portraits, network, embedding.expand(len(portraits.codes), -1))

    return draw


def _by_picture(portraits: Portraits, network: HyperDomainNet) -> Way:
    def draw(look: Look) -> Tensor:
        embedding = portraits.clip.embed_image(look.references)
        turns = torch.arange(len(portraits.codes)) % len(embedding)
        return _restyled(portraits, network, embedding[turns])

    return draw


def _nearest(clip: ClipGuide, look: Look) -> str:
    """Text of the seen look whose text is nearest; of a seen one another's."""
    others = [prompt_of(name) for name in SEEN if name != look.name]
    cosines = clip.embed_text(others) @ clip.embed_text([look.prompt])[0]
    return others[int(cosines.argmax())]


@torch.no_grad()
def _restyled(portraits: Portraits, network: HyperDomainNet, embedding: Tensor) -> Tensor:
    """8-bit pictures of the portraits, each in the domain of its embedding [N, D]."""
    domains = network(embedding)
    parts = []
    for start in range(0, len(portraits.codes), BATCH):
        rows = slice(start, start + BATCH)
        part = portraits.codes[rows]
        domain = PackedTokens(*(None if x is None else x[rows] for x in domains))
        tokens = add_domain(part.tokens, domain)
        parts.append(quantised(portraits.generator.synthesis(part.w_plus, tokens)))
    return torch.cat(parts)


def looks_rows(
    portraits: Portraits, all_ways: Mapping[WayName, Way], group: str, looks: Sequence[Look]
) -> list[LooksRow]:
    """Measure every way on a group of looks; the unadapted source comes first."""
    rows: list[LooksRow] = []
    for way, draw in all_ways.items():
        row = _row(portraits, group, way, looks, [draw(look) for look in looks])
        before = (rows or [row])[0].measured.feature_distance
        rows.append(replace(row, way=1 - row.measured.feature_distance / before))
    return rows


@torch.no_grad()
def _row(
    portraits: Portraits,
    group: str,
    way: WayName,
    looks: Sequence[Look],
    pictures: Sequence[Tensor],
) -> LooksRow:
    """Measure pictures [N, 3, R, R] of each look; the way is left open."""
    clip, metric = portraits.clip, portraits.metric
    image, truth = torch.cat(list(pictures)), torch.cat([look.truth.image for look in looks])
    embedded = [
        torch.cat([metric.embed(part) for part in own.split(BATCH)]).numpy()
        for own in (image, truth)
    ]
    shares = precision_recall(*embedded)
    pairs = list(zip(pictures, looks, strict=True))
    return LooksRow(
        group=group,
        network=way[0],
        given=way[1],
        looks=len(looks),
        text=fmean(text_similarity(clip, own, look.prompt) for own, look in pairs),
        diversity=fmean(float(mean_pairwise_distance(clip.embed_image(x))) for x in pictures),
        precision=shares.precision,
        recall=shares.recall,
        way=0.0,
        measured=measure(
            metric,
            image,
            truth,
            portraits.photos.image.repeat(len(looks), 1, 1, 1),
            torch.cat([look.truth.background for look in looks]),
        ),
    )


def looks_markdown(rows: Sequence[LooksRow]) -> str:
    """The table for a page of results."""
    lines = [
        "| looks | network | given | LPIPS* to truth | way | Fréchet* to truth | precision "
        "| recall | CLIP* | diversity | ID* |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        m = row.measured
        lines.append(
            f"| {row.looks} {row.group} | {row.network} | {row.given} | {m.feature_distance:.3f} "
            f"| {row.way:.2f} | {m.frechet:.1f} | {row.precision:.2f} | {row.recall:.2f} "
            f"| {row.text:.3f} | {row.diversity:.3f} | {m.identity:.3f} |"
        )
    return "\n".join(lines) + "\n"
