"""The page of domain adaptation, after the paper's Table 3."""

from typing import Any

from rs_runtime.contracts.tokens import read_token_set
from rs_train.checkpoint import load_model
from rs_train.domains.codes import invert
from rs_train.tables import recipe
from rs_train.tables.adaptation import (
    AdaptationRow,
    Heads,
    Way,
    adaptation_markdown,
    adaptation_picture,
    adaptation_rows,
)
from rs_train.tables.claims import Claim
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.measure import Measured
from rs_train.tables.page import Result

# What the table measures, by the recipes' names.
STAGES = (
    *("generator", "base_inverter", "refiner", "metric", "clip"),
    *(f"domains {domain}" for domain in recipe.ADAPTED),
    *(f"table {way} {domain}" for domain in recipe.ADAPTED for way in recipe.WAYS),
)
_SHOWN = (3, 8)  # portraits of the pictures
_NADA, _GOGA = "StyleGAN-NADA", "GOGA, style only"
_OURS_TEXT, _OURS_ONE_SHOT = "tokens, text", "tokens, one picture"
_OURS, _CEILING = "tokens, text and pictures", "tokens, pairs (ceiling)"
_ADAPTED = """\
{count} held-out portraits are inverted by the demo's two-stage model, restyled, and compared with
the true renders of the same scenes in the domain. LPIPS\\*, Fréchet\\* and ID\\* (to the photo) are
taken on this project's own metric network, which no loss has seen; CLIP\\* is the cosine of picture
and prompt by the small CLIP that guides the text rows. StyleGAN-NADA and GOGA fine-tune the whole
synthesis network in the same harness and on the same heads, each way by its own recipe (presets
`demo_nada`, `demo_goga`, `demo_one_shot`, `demo_domain`). User study: not reproduced."""


def page(laboratory: Laboratory) -> Result:
    """Measure every way to every domain."""
    generator = laboratory.generator
    photos = laboratory.held_out()
    codes = invert(
        photos.image, generator, laboratory.model("base_inverter"), laboratory.model("refiner")
    )
    heads = Heads(generator, codes, photos, laboratory.metric, laboratory.model("clip"))
    rows: list[AdaptationRow] = []
    pictures = {}
    for domain, prompt in recipe.ADAPTED.items():
        truth, ways = laboratory.held_out(domain), _ways(laboratory, domain)
        rows += adaptation_rows(heads, domain, prompt, truth, ways)
        pictures[domain] = adaptation_picture(heads, truth, ways, _SHOWN)
    return Result(
        title="Table 3: domain adaptation",
        about=_ADAPTED.format(count=laboratory.count),
        rows=rows,
        table=adaptation_markdown(rows),
        claims=_claims({(row.domain, row.way): row.measured for row in rows}),
        pictures=pictures,
    )


def _ways(laboratory: Laboratory, domain: str) -> list[Way]:
    generator = laboratory.generator

    def tokens(path: str) -> Any:
        table, fingerprint = generator.table, generator.fingerprint()
        return read_token_set(laboratory.work / path, table=table, fingerprint=fingerprint)

    def way(kind: str, name: str, shown: str) -> Way:
        path = recipe.result(kind, domain)
        made = tokens(path) if path.endswith(".tokens") else load_model(laboratory.work / path)
        return Way(name, shown, made, laboratory.seconds(f"table {kind} {domain}"))

    own = laboratory.seconds(f"domains {domain}")
    return [
        way(recipe.FULL_TEXT, _NADA, "text"),
        way(recipe.TEXT, _OURS_TEXT, "text"),
        way(recipe.FULL_ONE_SHOT, _GOGA, "one picture"),
        way(recipe.ONE_SHOT, _OURS_ONE_SHOT, "one picture"),
        Way(_OURS, "text, 400 pictures", tokens(f"models/domains/{domain}.tokens"), own),
        way(recipe.CEILING, _CEILING, "300 pairs"),
    ]


def _claims(rows: dict[tuple[str, str], Measured]) -> list[Claim]:
    claims = []
    for domain in recipe.ADAPTED:
        for ours, theirs, shown in ((_OURS_TEXT, _NADA, "text"), (_OURS_ONE_SHOT, _GOGA, "one")):
            own, other = rows[domain, ours], rows[domain, theirs]
            claims += [
                Claim(
                    f"{domain}, {shown}: tokens are as close to the truth as {theirs} (LPIPS\\*)",
                    own.feature_distance,
                    "<=",
                    other.feature_distance,
                ),
                Claim(
                    f"{domain}, {shown}: tokens keep identity as {theirs} does (ID\\*)",
                    own.identity,
                    ">=",
                    other.identity,
                ),
            ]
    return claims
