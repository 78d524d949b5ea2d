"""Pages of inversion: systems compared, the two-stage model without its parts, and on other bases.

After the paper's Tables 1, 2, 4 and 5.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rs_train.tables import recipe
from rs_train.tables.claims import Claim
from rs_train.tables.curves import draw_systems
from rs_train.tables.laboratory import Laboratory
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


def _stages(*names: str) -> tuple[str, ...]:
    return ("generator", "metric", *(f"table {name}" for name in names))


# What the tables measure, by the recipes' names.
COMPARED = _stages(
    *BASES,
    "one_stage",
    *(second_stage(m, "style_transformer") for m in ("hyperstyle", "hfgi", "two_stage")),
)
ABLATED = _stages(second_stage("two_stage", "style_transformer"), *ABLATIONS)
BASED = _stages(*(second_stage("two_stage", base) for base in BASES))


def _systems(laboratory: Laboratory, second: Sequence[str] = ()) -> list[System]:
    """Systems that start from nothing, then those that refine the Style Transformer."""

    def path(name: str) -> Any:
        return laboratory.work / checkpoint(name)

    base = "style_transformer"
    first = [System(NAMES[m], path(m)) for m in ("psp", "e4e", "restyle", base)]
    others = [System(NAMES[m], path(base), path(second_stage(m, base))) for m in second]
    return [*first, *others]


def comparison(laboratory: Laboratory, *, extras: bool) -> Result:
    """Table 1, of portraits that the generator knows; with extras Table 2."""
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


def ablation(laboratory: Laboratory) -> Result:
    """Table 4: the two-stage model without one of its parts."""
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


def bases(laboratory: Laboratory) -> Result:
    """Table 5: the two-stage model on several base inverters."""
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
