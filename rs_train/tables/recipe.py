"""The trainings behind the tables: every system at one small budget, and the ablations.

As in the demo's recipe nothing happens here that a user could not type. What the demo trained
(judges, generator, domains) is taken from its folder. All inverters are trained anew, so that all
that start from nothing see the same pictures for as many steps, and so do all that refine. Encoders
read 64 x 64, half of the generator's side, and start from the trunk of the demo's base inverter, as
the published ones start from ArcFace's.
"""

from rs_train.demo_recipe import DOMAINS
from rs_train.stages import Stage

BASES = ("style_transformer", "psp", "e4e", "restyle")
IMAGE_SIZE, BATCH = 64, 8
FIRST_STEPS, SECOND_STEPS = 1200, 500

# The parts of the refiner that the paper ablates; the full one has 8 tokens a layer and all layers.
ABLATIONS = {
    "6 layers refined": ("network.refined_layers=6",),
    "2 tokens a layer": ("network.rank=2",),
    "no groups": ("network.grouped=false",),
    "no scales": ("network.scaled=false",),
    "no diversity loss": ("training.diversity=0.0",),
}

_SETTINGS = (
    f"network.image_size={IMAGE_SIZE}",
    f"loop.batch_size={BATCH}",
    "loop.sample_every=600",
    "loop.checkpoint_every=300",
    "training.validate_every=200",
)
_TRUNK = ("--weights", "trunk=models/base_inverter.safetensors")
_FIRST = (f"loop.steps={FIRST_STEPS}", "training.generated=4")
_SECOND = (f"loop.steps={SECOND_STEPS}",)
# All rows of e4e are free after half of the steps, as in the longer presets after a third.
_OWN = {"e4e": (*_FIRST, "editing.progressive_from=150", "editing.progressive_every=40")}
_OWN |= {"restyle": _FIRST[:1]}  # it has no use for samples of known w

# Ways to a domain beside the demo's own: what each is shown, and what it writes.
ADAPTED = {name: DOMAINS[name] for name in ("sketch", "cartoon")}  # with their prompts
TEXT, FULL_TEXT = "text tokens", "nada"
ONE_SHOT, FULL_ONE_SHOT = "one-shot tokens", "goga"
CEILING = "ceiling"
WAYS = (TEXT, FULL_TEXT, ONE_SHOT, FULL_ONE_SHOT, CEILING)
_REFERENCE = "000003.png"  # the one picture that the one-shot ways are shown


def checkpoint(name: str) -> str:
    """Where the checkpoint of a row lies in the work folder."""
    return f"models/tables/{stem(name)}.safetensors"


def run_folder(name: str) -> str:
    """Where the run of a row or a way lies in the work folder."""
    return f"runs/table-{stem(name)}"


def stem(name: str) -> str:
    """A row's name as that of a file."""
    return name.replace(" ", "-")


def result(way: str, domain: str) -> str:
    """Where what a way to a domain made lies in the work folder."""
    suffix = "safetensors" if way in (FULL_TEXT, FULL_ONE_SHOT) else "tokens"
    return f"models/tables/{stem(way)}-{domain}.{suffix}"


def stages() -> list[Stage]:
    """Every training, in an order in which each finds what it reads."""
    return [*_inverters(), *(stage for name in ADAPTED for stage in _adaptations(name))]


def _inverters() -> list[Stage]:
    first = [_inverter(model, model, _OWN.get(model, _FIRST)) for model in (*BASES, "one_stage")]
    second = [_second("two_stage", base) for base in BASES]
    others = [_second(model, "style_transformer") for model in ("hyperstyle", "hfgi")]
    ablated = [
        _second("two_stage", "style_transformer", name, settings)
        for name, settings in ABLATIONS.items()
    ]
    return [*first, *second, *others, *ablated]


def second_stage(model: str, base: str) -> str:
    """Name of a system that refines what a base inverter found."""
    return f"{model} on {base}"


def _second(
    model: str, base: str, name: str | None = None, settings: tuple[str, ...] = ()
) -> Stage:
    name = name or second_stage(model, base)
    return _inverter(name, model, (*_SECOND, *settings), "--base", checkpoint(base))


def _inverter(name: str, model: str, settings: tuple[str, ...], *options: str) -> Stage:
    run = run_folder(name)
    argv = (
        *("inverter", "--model", model, "--run", run, "--out", checkpoint(name)),
        *("--generator", "models/generator.safetensors", "--judge", "models/arcface.safetensors"),
        *(() if model == "hfgi" else _TRUNK),  # HFGI's networks are none of that kind
        *("--data", "data/photo=0.7", "--data", "data/extras=0.3"),
        *("--validation", "data/validation", *options),
    )
    sets = (part for setting in (*_SETTINGS, *settings) for part in ("--set", setting))
    return Stage(f"table {name}", (*argv, *sets), run=run)


def _adaptations(domain: str) -> list[Stage]:
    text = ("--prompt", ADAPTED[domain], "--clip", "models/clip.safetensors")
    one = ("--reference", f"data/references-{domain}/{_REFERENCE}")
    full = ("--parameterisation", "full")
    pairs = ("--paired", "--references", f"data/pairs-{domain}", "--preset", "demo_ceiling")
    return [
        _adaptation(TEXT, domain, *text, "--set", "loop.steps=300"),
        _adaptation(FULL_TEXT, domain, *text, *full),
        _adaptation(ONE_SHOT, domain, *one),
        _adaptation(FULL_ONE_SHOT, domain, *one, *full),
        _adaptation(CEILING, domain, *pairs, "--set", "loop.steps=300"),
    ]


def _adaptation(way: str, domain: str, *options: str) -> Stage:
    run = run_folder(f"{way} {domain}")
    argv = (
        *("domain", "--name", domain, "--run", run, "--out", result(way, domain)),
        *("--generator", "models/generator.safetensors", "--arcface", "models/arcface.safetensors"),
        *("--base-inverter", "models/base_inverter.safetensors"),
        *("--refiner", "models/refiner.safetensors"),
        *("--portraits", "data/pairs-photo", "--codes", "models/pairs.safetensors"),
    )
    return Stage(f"table {way} {domain}", (*argv, *options), run=run)
