"""How the demo is made: every command, in order.

Paths are relative to the work folder. A stage's commands are rs-train's own; nothing happens here
that a user could not type.
"""

from rs_train.portraits.looks import SEEN
from rs_train.stages import Stage

DOMAINS = {
    "sketch": "a toned pencil sketch of a person",
    "cartoon": "a cartoon with ink outlines of a person",
    "oil": "an oil painting of a person",
}
# Lines on paper are further from a photo than a palette is, so they take longer.
_STEPS = {"sketch": ("--set", "loop.steps=1500")}
# Looks that only the judges see, so that a CLIP learns a vocabulary.
_OTHER_LOOKS = ("watercolour", "charcoal", "ink", "pastel", "pop", "sepia")
_LOOKS = ("photo", *DOMAINS, *_OTHER_LOOKS)
_ALL_CORES = ("--workers", "0")


def stages() -> list[Stage]:
    """The recipe."""
    return [
        *_renders(),
        *_networks(),
        *_domains(),
        *_many_domains(),
        *_features(),
        *_edits(),
        *_tables(),
    ]


def _render(folder: str, count: int, seed: int, *options: str) -> Stage:
    argv = f"render --out data/{folder} --count {count} --seed {seed}".split()
    return Stage(f"render {folder}", (*argv, *options))


def _renders() -> list[Stage]:
    # A seed a purpose: no two of these folders share a scene.
    return [
        _render("photo", 16_000, 1, *_ALL_CORES),
        _render("people", 6000, 2, "--people", "750", *_ALL_CORES),
        _render("extras", 6000, 4, "--extras", *_ALL_CORES),
        _render("validation", 200, 8),
        *(_render(f"looks-{look}", 600, 3, "--domain", look) for look in _LOOKS),
        _render("looks-extras", 600, 33, "--extras"),
        _render("looks-any", 12_000, 13, "--domain", "any", *_ALL_CORES),
        *(
            _render(f"metric-{look}", 480, 5, "--people", "160", "--domain", look)
            for look in _LOOKS
        ),
        _render("metric-extras", 480, 55, "--people", "160", "--extras"),
        *(_render(f"references-{domain}", 400, 6, "--domain", domain) for domain in DOMAINS),
        _render("pairs-photo", 300, 7),
        *(_render(f"pairs-{domain}", 300, 7, "--domain", domain) for domain in DOMAINS),
        *(_render(f"seen/{look}", 100, 7, "--domain", look) for look in SEEN),
        _render("heads", 2400, 9, "--masks"),
        _render("heads-extras", 800, 10, "--extras", "--masks"),
        *(_render(f"heads-{domain}", 300, 11, "--domain", domain, "--masks") for domain in DOMAINS),
        _render("heads-held-out", 300, 12, "--extras", "--masks"),
    ]


def _train(name: str, argv: str, *options: str) -> Stage:
    head = (*argv.split(), "--run", f"runs/{name}", "--out", f"models/{name}.safetensors")
    return Stage(name, (*head, *options), run=f"runs/{name}")


def _folders(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(part for name in names for part in ("--data", f"data/{prefix}-{name}"))


_INVERTER = "inverter --generator models/generator.safetensors --judge models/arcface.safetensors"
_PHOTOS = (
    "--data",
    "data/photo=0.7",
    "--data",
    "data/extras=0.3",
    "--validation",
    "data/validation",
)


def _networks() -> list[Stage]:
    base = ("--base", "models/base_inverter.safetensors")
    going_on = ("--init", "models/base_inverter.safetensors", "--preset", "demo_control")
    return [
        _train("arcface", "judge arcface --data data/people"),
        _train("clip", "judge clip", *_folders("looks", *_LOOKS, "extras")),
        _train("prompt_clip", "judge clip --preset demo_prompt_clip --data data/looks-any"),
        _train("metric", "judge metric", *_folders("metric", *_LOOKS, "extras")),
        _train(
            "landmarks",
            "landmarks --data data/heads",
            *_folders("heads", "extras", *DOMAINS),
            *("--validation", "data/heads-held-out"),
        ),
        _train("generator", "generator --data data/photo"),
        _train("base_inverter", f"{_INVERTER} --model style_transformer", *_PHOTOS),
        _train("refiner", f"{_INVERTER} --model two_stage", *base, *_PHOTOS),
        # The base trained on for the refiner's budget: what more of the same would have given.
        _train("control", f"{_INVERTER} --model style_transformer", *going_on, *_PHOTOS),
    ]


def _domain(name: str, kind: str, *options: str) -> Stage:
    argv = (
        *("domain", "--name", name, "--generator", "models/generator.safetensors"),
        *("--arcface", "models/arcface.safetensors"),
        *("--base-inverter", "models/base_inverter.safetensors"),
        *("--refiner", "models/refiner.safetensors"),
        *("--run", f"runs/{kind}-{name}", "--out", f"models/{kind}/{name}.tokens"),
    )
    return Stage(f"{kind} {name}", (*argv, *options), run=f"runs/{kind}-{name}")


def _domains() -> list[Stage]:
    clip = ("--clip", "models/clip.safetensors")
    pairs = ("--portraits", "data/pairs-photo", "--codes", "models/pairs.safetensors")
    result = []
    for name, prompt in DOMAINS.items():
        text = ("--prompt", prompt, *clip)
        references = ("--references", f"data/references-{name}")
        truth = ("--paired", "--references", f"data/pairs-{name}", "--preset", "demo_ceiling")
        result += [
            _domain(name, "domains", *text, *references, *pairs, *_STEPS.get(name, ())),
            _domain(name, "ceilings", *truth, *pairs, *_STEPS.get(name, ())),
            _domain(name, "text-only", *text, *pairs),
        ]
    return result


# One network for many domains: its pictures show the first scenes of data/pairs-photo.
HYPERNETWORK = (
    *("hypernetwork", "--generator", "models/generator.safetensors"),
    *("--clip", "models/prompt_clip.safetensors", "--arcface", "models/arcface.safetensors"),
    *("--base-inverter", "models/base_inverter.safetensors"),
    *("--refiner", "models/refiner.safetensors"),
    *("--portraits", "data/pairs-photo", "--codes", "models/pairs.safetensors"),
    *("--pictures", "data/seen"),
)


def _many_domains() -> list[Stage]:
    return [_train("hypernetwork", " ".join(HYPERNETWORK))]


def _features() -> list[Stage]:
    trunk = ("--weights", "trunk=models/base_inverter.safetensors")
    base = ("--base", "models/feature_encoder.safetensors")
    kinds = ("domains", "ceilings", "text-only")
    domains = (part for kind in kinds for part in ("--domain", f"models/{kind}"))
    return [
        _train("feature_encoder", f"{_INVERTER} --model feature_style", *trunk, *_PHOTOS),
        _train("feature_shift", f"{_INVERTER} --model feature_shift", *base, *domains, *_PHOTOS),
    ]


def _edits() -> list[Stage]:
    def fit(method: str, attribute: str, sigma: int, *options: str) -> Stage:
        argv = f"directions fit --method {method} --attribute {attribute} --sigma {sigma}".split()
        files = (
            *("--generator", "models/generator.safetensors"),
            *("--judge", "models/attributes.safetensors"),
            *("--samples", "models/samples.safetensors", "--out", "models/edits"),
        )
        return Stage(f"edit {attribute}", (*argv, *options, *files))

    def held(*attributes: str) -> tuple[str, ...]:
        return tuple(part for attribute in attributes for part in ("--keep", attribute))

    judge = "judge metric --preset demo_attributes --data data"
    # A smile is small beside what heads have in common with it.
    colours = ("skin", "hair_tone", "eye_hue", "clothes_hue", "clothes_saturation")
    shape = ("hair_volume", "long_hair", "pitch", "yaw")
    light = ("light_height", "light_azimuth", "background_value")
    return [
        _train("attributes", f"{judge}/photo"),
        # For `directions measure`: other portraits, another start.
        _train("other_attributes", f"{judge}/people --set loop.seed=12"),
        fit("interfacegan", "smile", 6, "--rows", "2:8", *held(*colours, *shape, *light)),
        fit("interfacegan", "yaw", 2),
        fit("interfacegan", "glasses", 3),
        fit("interfacegan", "hair_tone", 3, *held("skin")),
        fit("ganspace", "background_hue", 4, "--rows", "6:12"),
    ]


_CALIBRATION = (
    *("--generator", "models/generator.safetensors"),
    *("--encoder", "models/base_inverter.safetensors"),
    *("--encoder", "models/feature_encoder.safetensors"),
    *("--metric", "models/metric.safetensors", "--tokens", "models/domains"),
    *("--held-out", "data/held-out", "--calibrations", "models", "--out", "results"),
)


def _tables() -> list[Stage]:
    models = (
        *("--generator", "models/generator.safetensors"),
        *("--base-inverter", "models/base_inverter.safetensors"),
        *("--refiner", "models/refiner.safetensors"),
        *("--metric", "models/metric.safetensors"),
        *("--held-out", "data/held-out", "--out", "results"),
    )
    control = ("--control", "models/control.safetensors")
    record = ("--reconstruction", "models/reconstruction.json")
    sets = ("--tokens", "models/domains", "--ceilings", "models/ceilings")
    sets = (*sets, "--text-only", "models/text-only")
    return [
        Stage("eval inversion", ("eval", "inversion", *models, *control, *record)),
        Stage("eval domains", ("eval", "domains", *models, *sets)),
        Stage("eval calibration", ("eval", "calibration", *_CALIBRATION)),
    ]
