"""Few pictures of a domain that is unlike portraits: how much must learn for heads to change shape.

StyleDomain (Alanov et al. 2023) finds that offsets of styles are enough for domains like portraits
and that far ones take more: the affine layers and one block of kernels, its Affine+.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rs_train.domains.codes import invert
from rs_train.metrics.precision_recall import precision_recall
from rs_train.stages import Stage
from rs_train.tables.adaptation import Heads, restyled
from rs_train.tables.claims import Claim
from rs_train.tables.domains import PERFECT, SOURCE
from rs_train.tables.hyperdomainnet1 import RATES, embedded, picture, read_result, trained_numbers
from rs_train.tables.inversion import synthesize
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.measure import Measured, measure
from rs_train.tables.page import Result
from rs_train.tables.recipe import run_folder, stem
from rs_train.tasks.domain import FAMILIES

DOMAIN, REFERENCES = "alien", 100
STEPS, BATCH_SIZE = 300, 4
_SETTINGS = (
    *(f"loop.steps={STEPS}", f"loop.batch_size={BATCH_SIZE}", "loop.sample_every=150"),
    *("pool.random_heads=128", "weights.structure=0.0", "weights.identity=0.0"),
    *("weights.adversarial=1.0", "weights.texture=3.0"),
)
_SHOWN = (3, 8, 21)  # portraits of the picture
_ABOUT = """\
Aliens are drawn from the scenes of portraits: pose, light, background and clothes are the person's,
shape and colour of the head are not, and hair is gone. {references} of them, of other scenes, guide
each row by the patch discriminator and the texture distance; nothing holds a head's structure. The
rows differ in what learns and in its rate alone: {steps} batches of {batch}. {count} held-out
portraits are inverted by the demo's two-stage model and adapted; Fréchet\\*, precision\\* and
recall\\* (k = 3) compare them with as many aliens, LPIPS\\* each with the alien of its own scene,
on the project's own metric network, which no loss has seen."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to make aliens.

    Attributes:
        family: What learnt, or whose pictures these are.
        trained: Numbers that were optimised.
        measured: Numbers against the true renders.
        precision: Share of the pictures that lie among the true renders.
        recall: Share of the true renders that lie among the pictures.
    """

    family: str
    trained: int
    measured: Measured
    precision: float
    recall: float


def _result(family: str) -> str:
    return f"models/tables/{stem(f'few {family}')}-{DOMAIN}{FAMILIES[family].suffix}"


def stages() -> list[Stage]:
    """The reference pictures and the trainings."""
    folder = f"data/references-{DOMAIN}"
    render = f"render --out {folder} --count {REFERENCES} --seed 6 --domain {DOMAIN}"
    return [
        Stage(f"table render references-{DOMAIN}", tuple(render.split())),
        *(_stage(family, folder) for family in RATES),
    ]


def _stage(family: str, references: str) -> Stage:
    run = run_folder(f"few {family} {DOMAIN}")
    argv = (
        *("domain", "--preset", "demo_domain", "--parameterisation", family, "--name", DOMAIN),
        *("--references", references, "--generator", "models/generator.safetensors"),
        *("--arcface", "models/arcface.safetensors", "--run", run, "--out", _result(family)),
    )
    settings = (*_SETTINGS, f"training.lr={RATES[family]}")
    sets = (part for setting in settings for part in ("--set", setting))
    return Stage(f"table few {family} {DOMAIN}", (*argv, *sets), run=run)


STAGES = (
    *("generator", "base_inverter", "refiner", "metric", "clip"),
    *(stage.name for stage in stages()),
)


def make(laboratory: Laboratory) -> Result:
    """Measure every row."""
    generator, photos = laboratory.generator, laboratory.held_out()
    codes = invert(
        photos.image, generator, laboratory.model("base_inverter"), laboratory.model("refiner")
    )
    heads = Heads(generator, codes, photos, laboratory.metric, laboratory.model("clip"))
    truth = laboratory.held_out(DOMAIN)
    images: dict[str, Tensor] = {SOURCE: synthesize(generator, codes)}
    for family in RATES:
        made = read_result(generator, laboratory.work / _result(family))
        images[family] = restyled(heads, made)
    images[PERFECT] = truth.image
    rows = []
    for family, image in images.items():
        seen, wanted = (embedded(heads.metric.embed, x).numpy() for x in (image, truth.image))
        shares = precision_recall(seen, wanted)
        rows.append(
            Row(
                family=family,
                trained=trained_numbers(generator, family) if family in RATES else 0,
                measured=measure(heads.metric, image, truth.image, photos.image, truth.background),
                **shares._asdict(),
            )
        )
    shown = {name: image[list(_SHOWN)] for name, image in images.items()}
    return Result(
        title="StyleDomain: few pictures of a domain that is unlike portraits",
        about=_ABOUT.format(
            references=REFERENCES, steps=STEPS, batch=BATCH_SIZE, count=len(photos.image)
        ),
        rows=rows,
        table=markdown(rows),
        claims=claims(rows),
        pictures={DOMAIN: picture({"portrait": photos.image[list(_SHOWN)]} | shown)},
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page of results."""
    lines = [
        "| what learns | trained numbers | Fréchet\\* | precision\\* | recall\\* | LPIPS\\* |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.family} | {f'{row.trained:,}' if row.trained else ''} "
        f"| {row.measured.frechet:.1f} | {row.precision:.2f} | {row.recall:.2f} "
        f"| {row.measured.feature_distance:.3f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """StyleDomain's claims."""
    distance = {row.family: row.measured.frechet for row in rows}
    ratio = distance["affine_plus"] / distance["full"]
    return [
        Claim(
            "Affine+ comes closer to a far domain than style offsets (Fréchet\\*)",
            distance["affine_plus"],
            "<",
            distance["style_space"],
        ),
        Claim("Affine+ is within 5 % of full fine-tuning (Fréchet\\*, ratio)", ratio, "<=", 1.05),
    ]
