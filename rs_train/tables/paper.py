"""The paper's tables in miniature: what each needs, what it holds, and what the paper claims.

Numbers are measured on rendered portraits. LPIPS* and ID* are the feature distance and the cosine
of identities of the project's own metric network, which no loss has seen, where the paper has
AlexNet's LPIPS and a public face network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_runtime.contracts.tokens import read_token_set
from rs_train.checkpoint import load_model
from rs_train.demo_recipe import stages as demo_stages
from rs_train.domains.codes import invert
from rs_train.stages import Stage
from rs_train.tables import (
    encoders_pages,
    hyperdomainnet1,
    hyperdomainnet2,
    hyperdomainnet2_page,
    kernels,
    recipe,
    styledomain,
)
from rs_train.tables.adaptation import (
    AdaptationRow,
    Heads,
    Way,
    adaptation_markdown,
    adaptation_picture,
    adaptation_rows,
)
from rs_train.tables.claims import Claim
from rs_train.tables.curves import draw_systems
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.measure import Measured
from rs_train.tables.page import Result
from rs_train.tables.recipe import ABLATIONS, BASES, checkpoint, second_stage
from rs_train.tables.systems import (
    Subject,
    System,
    SystemRow,
    system_rows,
    systems_markdown,
    systems_picture,
)

NAMES = {
    "psp": "pSp",
    "e4e": "e4e",
    "restyle": "ReStyle",
    "style_transformer": "Style Transformer",
    "hyperstyle": "HyperStyle",
    "hfgi": "HFGI",
    "one_stage": "one-stage (ours)",
    "two_stage": "two-stage (ours)",
}
IN_DOMAIN, EXTRAS = "in domain", "with extras"
_SHOWN = (3, 8, 21, 34)  # portraits of the pictures

_FIRST = f"{recipe.FIRST_STEPS:,} batches of {recipe.BATCH}"
_SECOND = f"{recipe.SECOND_STEPS} batches of {recipe.BATCH}"
_JUDGED = """\
{count} held-out portraits that no training has seen, {portraits}, 8-bit. As in the paper, pictures
are compared at the size that the encoders read, {read} x {read}; the columns after "full size"
compare them at the generator's {full} x {full}, whose finest detail no loss has seen. MSE on the
scale [-1, 1]. LPIPS\\* and ID\\* are feature distance and cosine of identities by this project's
own metric network, which no loss has seen, in the place of AlexNet and of a public face network.
Parameters and multiply-adds are those of the stage that is trained, for one picture, the generator
excluded; time is that of a whole inversion on the CPU, generator included, over the first row's.
"""
_BUDGET = f"""\
All systems saw the same pictures: those that start from nothing {_FIRST},
those that refine the Style Transformer's inversion {_SECOND}. That is about a thousandth of
the published budgets; the [demo's own numbers](inversion.md) come from trainings 36 times as
long."""

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

_SPECTRA = """\
Means over {count} held-out portraits. A kernel [Cout, Cin, k, k] is taken as a matrix
[Cout, Cin k²], the residual as [Cout, Cin] times k. Each refiner gives a layer eight tokens; the
effective rank says how many of them the residual really uses. Without the loss that keeps a layer's
tokens apart they grow alike, and the residual has rank 1. The demo's refiner was trained before
this was found."""


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper.

    Attributes:
        stages: Names of the stages whose results it measures.
        make: Measures them.
    """

    stages: tuple[str, ...]
    make: Callable[[Laboratory], Result]


def needed(table: Table) -> list[Stage]:
    """The stages of a table and all that they read, in the recipes' order."""
    own = (recipe, hyperdomainnet1, hyperdomainnet2, styledomain)
    known = [*demo_stages(), *(stage for module in own for stage in module.stages())]
    wanted = {stage.name for stage in known if stage.name in table.stages}
    for stage in reversed(known):  # those that are read come before those that read
        if any(other.reads(stage.out) for other in known if other.name in wanted):
            wanted.add(stage.name)
    return [stage for stage in known if stage.name in wanted]


def _systems(laboratory: Laboratory, second: Sequence[str] = ()) -> list[System]:
    """Systems that start from nothing, then those that refine the Style Transformer."""

    def path(name: str) -> Any:
        return laboratory.work / checkpoint(name)

    base = "style_transformer"
    first = [System(NAMES[m], path(m)) for m in ("psp", "e4e", "restyle", base)]
    others = [System(NAMES[m], path(base), path(second_stage(m, base))) for m in second]
    return [*first, *others]


def _comparison(laboratory: Laboratory, *, extras: bool) -> Result:
    portraits = EXTRAS if extras else IN_DOMAIN
    subject = _subject(laboratory, portraits)
    systems = _systems(laboratory, ("hyperstyle", "hfgi"))
    systems.append(System(NAMES["one_stage"], laboratory.work / checkpoint("one_stage")))
    systems.append(_two_stage(laboratory))
    rows = system_rows(subject, systems)
    words = "with hats, hands, paint or props" if extras else "of the kind that the generator knows"
    return Result(
        title=f"Table {2 if extras else 1}: inversion, {portraits}",
        about=_judged(laboratory, words) + _BUDGET,
        rows=rows,
        table=systems_markdown(rows),
        claims=_comparison_claims({row.system: row for row in rows}),
        pictures={
            "systems": systems_picture(subject, portraits, systems, _SHOWN),
            "curves": draw_systems(_runs(laboratory, systems)),
        },
    )


def _comparison_claims(rows: dict[str, SystemRow]) -> list[Claim]:
    base, ours = rows[NAMES["style_transformer"]].measured, rows[NAMES["two_stage"]].measured
    claims = [
        Claim("two-stage MSE is at most 0.53 of its base's", ours.mse / base.mse, "<=", 0.53),
        Claim(
            "two-stage LPIPS is at most 0.50 of its base's",
            ours.feature_distance / base.feature_distance,
            "<=",
            0.5,
        ),
        Claim(
            "one-stage improves on the Style Transformer (MSE)",
            rows[NAMES["one_stage"]].measured.mse,
            "<",
            base.mse,
        ),
    ]
    claims += [
        Claim(f"two-stage is below {name} (MSE)", ours.mse, "<", rows[name].measured.mse)
        for name in (NAMES["hyperstyle"], NAMES["hfgi"], NAMES["restyle"])
    ]
    return claims


def _ablation(laboratory: Laboratory) -> Result:
    subject = _subject(laboratory, IN_DOMAIN, EXTRAS)
    base = laboratory.work / checkpoint("style_transformer")
    full = _two_stage(laboratory, "full: 11 layers, 8 tokens, groups, scales")
    others = [System(name, base, laboratory.work / checkpoint(name)) for name in ABLATIONS]
    converging = [system for system in others if system.name != "no scales"]
    rows = system_rows(subject, [full, *others])
    inside = {row.system: row.measured for row in rows if row.portraits == IN_DOMAIN}
    return Result(
        title="Table 4: ablations of the two-stage model",
        about=_judged(laboratory, "and as many with extras")
        + f"Each row is a refiner trained for {_SECOND} on the same base inverter.",
        rows=rows,
        table=_by_set(rows),
        claims=[
            Claim(
                f"better than with {name} ({words})",
                getattr(inside[full.name], figure),
                "<",
                getattr(inside[name], figure),
            )
            for name in ABLATIONS
            for figure, words in (("mse", "MSE"), ("feature_distance", "LPIPS\\*"))
        ],
        pictures={"curves": draw_systems(_runs(laboratory, [full, *converging]))},
    )


def _bases(laboratory: Laboratory) -> Result:
    subject = _subject(laboratory, IN_DOMAIN, EXTRAS)
    systems = []
    for base in BASES:
        first = laboratory.work / checkpoint(base)
        second = laboratory.work / checkpoint(second_stage("two_stage", base))
        systems += [
            System(NAMES[base], first),
            System(f"two-stage on {NAMES[base]}", first, second),
        ]
    rows = system_rows(subject, systems)
    return Result(
        title="Table 5: base inverters of the two-stage model",
        about=_judged(laboratory, "and as many with extras")
        + f"Bases were trained for {_FIRST}, refiners for {_SECOND}.",
        rows=rows,
        table=_by_set(rows),
        claims=[
            Claim(f"{row.system} improves its base, {row.portraits} (MSE ratio)", row.ratio, "<", 1)
            for row in rows
            if row.ratio is not None
        ],
        pictures={"curves": draw_systems(_runs(laboratory, systems))},
    )


def _adaptation(laboratory: Laboratory) -> Result:
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
        pictures[domain] = adaptation_picture(heads, truth, ways, _SHOWN[:2])
    return Result(
        title="Table 3: domain adaptation",
        about=_ADAPTED.format(count=laboratory.count),
        rows=rows,
        table=adaptation_markdown(rows),
        claims=_adaptation_claims({(row.domain, row.way): row.measured for row in rows}),
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


def _adaptation_claims(rows: dict[tuple[str, str], Measured]) -> list[Claim]:
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


def _spectra(laboratory: Laboratory) -> Result:
    photos = laboratory.held_out().image
    base = "style_transformer"
    refiners = {
        "demo": ("base_inverter", "refiner"),
        "table 4, full": (
            f"tables/{base}",
            f"tables/{recipe.stem(second_stage('two_stage', base))}",
        ),
        "no diversity loss": (f"tables/{base}", f"tables/{recipe.stem('no diversity loss')}"),
    }
    found = []
    for name, models in refiners.items():
        stages = (laboratory.model(model) for model in models)
        codes = invert(photos, laboratory.generator, *stages)
        found += kernels.spectra(name, laboratory.generator, codes)
    return Result(
        title="Figure 3: singular values of dynamic kernels",
        about=_SPECTRA.format(count=len(photos)),
        rows=found,
        table=kernels.markdown(found),
        pictures={"spectra": kernels.draw(found)},
    )


def _subject(laboratory: Laboratory, *portraits: str) -> Subject:
    sets = {name: laboratory.held_out(extras=name == EXTRAS) for name in portraits}
    return Subject(laboratory.generator, laboratory.metric, sets)


def _judged(laboratory: Laboratory, portraits: str) -> str:
    """How the systems are measured."""
    full = laboratory.generator.config.resolution
    count, read = laboratory.count, recipe.IMAGE_SIZE
    return _JUDGED.format(count=count, portraits=portraits, read=read, full=full)


def _runs(laboratory: Laboratory, systems: Sequence[System]) -> dict[str, Path]:
    """Folder of the run that made each system's last stage."""
    return {own.name: laboratory.work / recipe.run_folder(own.last.stem) for own in systems}


def _two_stage(laboratory: Laboratory, name: str = NAMES["two_stage"]) -> System:
    base = "style_transformer"
    first, second = checkpoint(base), checkpoint(second_stage("two_stage", base))
    return System(name, laboratory.work / first, laboratory.work / second)


def _by_set(rows: Sequence[SystemRow]) -> str:
    """A table for each set of portraits."""
    names = dict.fromkeys(row.portraits for row in rows)
    return "\n".join(
        f"### {name.capitalize()}\n\n" + systems_markdown([r for r in rows if r.portraits == name])
        for name in names
    )


def _stages(*names: str) -> tuple[str, ...]:
    return ("generator", "metric", *(f"table {name}" for name in names))


_COMPARED = (
    *BASES,
    "one_stage",
    *(second_stage(m, "style_transformer") for m in ("hyperstyle", "hfgi", "two_stage")),
)
TABLES = {
    "table1": Table(_stages(*_COMPARED), lambda own: _comparison(own, extras=False)),
    "table2": Table(_stages(*_COMPARED), lambda own: _comparison(own, extras=True)),
    "table3": Table(
        (
            *("generator", "base_inverter", "refiner", "metric", "clip"),
            *(f"domains {domain}" for domain in recipe.ADAPTED),
            *(f"table {way} {domain}" for domain in recipe.ADAPTED for way in recipe.WAYS),
        ),
        _adaptation,
    ),
    "table4": Table(_stages(second_stage("two_stage", "style_transformer"), *ABLATIONS), _ablation),
    "table5": Table(_stages(*(second_stage("two_stage", base) for base in BASES)), _bases),
    "figure3": Table(
        (
            *("generator", "base_inverter", "refiner"),
            f"table {second_stage('two_stage', 'style_transformer')}",
            "table no diversity loss",
        ),
        _spectra,
    ),
    "hyperdomainnet1": Table(hyperdomainnet1.STAGES, hyperdomainnet1.make),
    "styledomain": Table(styledomain.STAGES, styledomain.make),
    "hyperdomainnet2": Table(hyperdomainnet2_page.STAGES, hyperdomainnet2_page.page),
    "encoders1": Table(
        (*encoders_pages.STAGES, *encoders_pages.TEXT_STAGES),
        lambda own: encoders_pages.quality(own, encoders_pages.TEXT_GUIDED, "text"),
    ),
    "encoders2": Table(
        (*encoders_pages.STAGES, *encoders_pages.PICTURE_STAGES),
        lambda own: encoders_pages.quality(own, encoders_pages.PICTURE_GUIDED, "picture"),
    ),
    "encoders3": Table(
        (*encoders_pages.STAGES, *encoders_pages.TEXT_STAGES, *encoders_pages.PICTURE_STAGES),
        encoders_pages.reconstruction,
    ),
}
