"""The page of HyperDomainNet's many domains in miniature."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rs_runtime.diagnostics.sheet import sheet
from rs_train.checkpoint import load_model
from rs_train.domains.codes import invert
from rs_train.domains.hypernetwork import HyperDomainNet
from rs_train.grids import to_pixels
from rs_train.stages import record_of
from rs_train.tables.claims import Claim
from rs_train.tables.hyperdomainnet2 import (
    FULL,
    GROUPS,
    MODULATION,
    NEAREST,
    NO_ANGLE,
    NO_TARGET,
    PERFECT,
    SOURCE,
    TEXT_ONLY,
    TOKENS,
    TRAININGS,
    Look,
    LooksRow,
    Portraits,
    Way,
    WayName,
    looks_markdown,
    looks_rows,
    path_of,
    prompt_of,
    references_of,
    stage_name,
    ways,
)
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.page import Result

STAGES = (
    *("generator", "base_inverter", "refiner", "metric", "prompt_clip"),
    *(stage_name(network) for network in (TOKENS, *TRAININGS)),
)
_COUNT = 8  # portraits of a look; there are 36 looks
_SHOWN = (8, 21, 34)  # portraits of the pictures, in turn
_COLUMNS = 8  # looks of a picture
_ABOUT = """\
{count} held-out portraits are inverted by the demo's two-stage model and drawn in each of 24 looks
that the networks were trained on and of 12 whose combination of parts they never met; every picture
is compared with the true render of the same scene in the look. A network is given the look's text,
or the picture of another scene in the look (four of them, in turn). Each number is of all pictures
of a group of looks; CLIP\\* and diversity are means over looks.
LPIPS\\*, Fréchet\\*, ID\\* (to the photo), precision and recall (three neighbours) are taken on
this project's own metric network, which no loss has seen; `way` is the share of the source's
LPIPS\\* to the truth that is gone; CLIP\\* and diversity (mean of 1 − cosine over pairs of a look's
pictures) are taken on the prompt CLIP that the networks read and are guided by. It has seen all
looks, as a public CLIP has.

"""
_TRAINED = """\
All networks but one saw, beside texts and CLIP's guidance, 100 true renders of the same scenes in
each of the 24 looks. `{tokens}` (P and Q, which the demo ships) and `{modulation}` (m,
HyperDomainNet's) had the same {long:,} steps and about the same size, {sizes}. The four rows below
them had {short} steps: the modulation again, without each of two losses, and by text alone as
published, with mixtures of texts only. `{nearest}` draws a look as the network with tokens draws
the one whose text is nearest."""


def page(laboratory: Laboratory) -> Result:
    """Measure all networks on all looks."""
    laboratory = replace(laboratory, count=min(laboratory.count, _COUNT))
    networks = {name: load_model(laboratory.work / path_of(name)) for name in (TOKENS, *TRAININGS)}
    portraits = _portraits(laboratory)
    looks = {group: [_look(laboratory, name) for name in names] for group, names in GROUPS.items()}
    every = ways(portraits, networks)
    rows = [row for group, own in looks.items() for row in looks_rows(portraits, every, group, own)]
    return Result(
        title="Many domains by one network, seen and unseen",
        about=_about(laboratory, networks),
        rows=rows,
        table=looks_markdown(rows),
        claims=claims(rows),
        pictures={
            group.replace(" ", "-"): picture(portraits, every, own[:: len(own) // _COLUMNS])
            for group, own in looks.items()
        },
    )


def _portraits(laboratory: Laboratory) -> Portraits:
    generator, photos = laboratory.generator, laboratory.held_out()
    base, refiner = laboratory.model("base_inverter"), laboratory.model("refiner")
    return Portraits(
        generator,
        invert(photos.image, generator, base, refiner),
        photos,
        laboratory.metric,
        laboratory.model("prompt_clip"),
    )


def _look(laboratory: Laboratory, name: str) -> Look:
    size = laboratory.generator.config.resolution
    return Look(name, prompt_of(name), laboratory.held_out(name), references_of(name, size))


def _about(laboratory: Laboratory, networks: Mapping[str, HyperDomainNet]) -> str:
    record = record_of(laboratory.work)
    sizes = [f"{sum(p.numel() for p in networks[n].parameters()):,}" for n in (TOKENS, MODULATION)]
    trained = _TRAINED.format(
        tokens=TOKENS,
        modulation=MODULATION,
        nearest=NEAREST,
        sizes=" and ".join(sizes),
        long=record[stage_name(TOKENS)]["steps"],
        short=record[stage_name(FULL)]["steps"],
    )
    return _ABOUT.format(count=laboratory.count) + trained


def claims(rows: Sequence[LooksRow]) -> list[Claim]:
    """What HyperDomainNet says of many domains, and what this project adds to it."""
    own = {(row.group, row.network, row.given): row for row in rows}
    seen, unseen = GROUPS

    def distance(group: str, network: str, given: str = "text") -> float:
        return own[group, network, given].measured.feature_distance

    found = [
        Claim(
            f"unseen looks come nearer than their nearest seen look (LPIPS\\*, {TOKENS})",
            distance(unseen, TOKENS),
            "<",
            distance(unseen, NEAREST, ""),
        )
    ]
    found += [
        Claim(
            f"in-domain angles raise diversity, {group}",
            own[group, FULL, "text"].diversity,
            ">=",
            own[group, NO_ANGLE, "text"].diversity,
        )
        for group in GROUPS
    ]
    found += [
        Claim(
            f"the target-target direction raises CLIP\\*, {group}",
            own[group, FULL, "text"].text,
            ">=",
            own[group, NO_TARGET, "text"].text,
        )
        for group in GROUPS
    ]
    found += [
        Claim(
            f"tokens come nearer to the truth than modulation (LPIPS\\*, {group})",
            distance(group, TOKENS),
            "<",
            distance(group, MODULATION),
        )
        for group in GROUPS
    ]
    found.append(
        Claim(
            f"a picture says as much as the text (LPIPS\\*, {unseen}, within a tenth)",
            distance(unseen, TOKENS, "picture"),
            "<=",
            1.1 * distance(unseen, TOKENS),
        )
    )
    found.append(
        Claim(
            f"text alone does not suffice: true renders bring {seen} looks nearer (LPIPS\\*)",
            distance(seen, FULL),
            "<",
            distance(seen, TEXT_ONLY),
        )
    )
    return found


def picture(
    portraits: Portraits, every: Mapping[WayName, Way], looks: Sequence[Look]
) -> NDArray[np.uint8]:
    """A portrait in each of some looks, uint8 [H, W, 3]: a row a way, the true renders below."""
    shown = [(MODULATION, "text"), (MODULATION, "picture"), (TOKENS, "text"), (TOKENS, "picture")]
    indices = [_SHOWN[n % len(_SHOWN)] % len(portraits.codes) for n in range(len(looks))]
    rows = []
    for way in ((SOURCE, ""), *shown, (PERFECT, "")):
        caption = ", ".join(filter(None, way))
        rows.append([])
        for look, index in zip(looks, indices, strict=True):
            image = every[way](look)[index : index + 1]
            rows[-1].append((look.name if way[0] == PERFECT else caption, to_pixels(image)[0]))
    return sheet(rows, height=portraits.photos.image.shape[-1])
