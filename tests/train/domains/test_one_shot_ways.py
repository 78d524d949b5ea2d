"""Tiny trainings from one picture: each way takes heads towards it by what it looks at."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import read_token_set
from rs_train.config import load
from rs_train.domains.codes import Codes
from rs_train.domains.description import DomainDescription
from rs_train.domains.pool import HeadPool, PoolConfig
from rs_train.generator import Generator, PackedTokens, pack
from rs_train.loop import run
from rs_train.perceptual.arcface import ArcFace, ArcFaceConfig
from rs_train.tasks.difa import DifaTask
from rs_train.tasks.domain import FAMILIES, Subject
from rs_train.tasks.domain_config import DomainRun
from rs_train.tasks.goga import GogaTask
from rs_train.tasks.mindthegap import MindTheGapTask
from rs_train.tasks.one_shot_domain import OneShotDomainTask, Shown

WAYS: dict[str, type[OneShotDomainTask]] = {
    "one_shot": GogaTask,
    "mindthegap": MindTheGapTask,
    "difa": DifaTask,
}
SMALL = (
    *("training.rank=2", "training.precision=fp32", "training.average=0.9", "training.lr=0.02"),
    *("training.offset_block=16", "one_shot.coarse_rows=4", "pool.random_heads=0"),
    *("loop.steps=40", "loop.batch_size=4", "loop.sample_every=0", "loop.checkpoint_every=40"),
)


class _Tower(nn.Module):
    """A residual tower of one map: colours of 4 x 4 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.layer2 = nn.AvgPool2d(8)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer2(image + 2).mean(dim=(2, 3))


class Colours(nn.Module):
    """A guide whose space is mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Module()
        self.network.visual = _Tower()

    def embed_image(self, image: Tensor) -> Tensor:
        return F.normalize(self.network.visual(image), dim=1)


class Inverter(nn.Module):
    """An encoder whose latents are coarse colours in every row."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.config = type("Config", (), {"image_size": 32})()
        self.rows = generator.num_ws

    def forward(self, image: Tensor) -> Tensor:
        coarse = F.adaptive_avg_pool2d(image, (4, 4))[:, 0].flatten(1)
        return coarse[:, None].expand(-1, self.rows, -1)


def task_of(
    preset: str,
    generator: Generator,
    codes: Codes,
    truth: Any,
    out: Path,
    *overrides: str,
    **shown: Any,
) -> OneShotDomainTask:
    config = load(DomainRun, preset, (*SMALL, *overrides))
    pool = HeadPool(generator, PoolConfig(random_heads=0), codes, seed=0, precision="fp32")
    about = DomainDescription(name="dark", source="a dark picture")
    torch.manual_seed(0)
    arcface = ArcFace(ArcFaceConfig(image_size=32, channels=(6, 8), embed_dim=4))
    found = {
        "reference": truth.image[:1],
        "codes": codes[[0]],
        "base": Inverter(generator),
        "arcface": arcface,
        "vgg": None,
        "clips": {Colours(): 1.0},
    }
    subject = Subject(config=config, generator=generator, pool=pool, about=about, out=out)
    return WAYS[preset.partition("_")[2]](subject, Shown(**(found | shown)))


def red_over_blue(image: Tensor) -> float:
    """The reference's red and blue are exchanged: how far a picture's are."""
    means = image.clamp(-1, 1).mean(dim=(0, 2, 3))
    return float(means[0] - means[2])


@pytest.mark.parametrize("way", ["mindthegap", "difa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_heads_turn_to_the_references_colours_whatever_learns(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path, way: str, family: str
) -> None:
    overrides = (
        *(f"training.parameterisation={family}", "training.torgb=true", "weights.structure=0"),
        *("loop.steps=12", "one_shot.inversion.steps=3"),
    )
    out = tmp_path / f"dark{FAMILIES[family].suffix}"
    task = task_of(f"demo_{way}", generator, codes, truth, out, *overrides)
    heads = task.pool.take(torch.arange(6))
    run(task, None, task.config.loop, tmp_path / "run", quiet=True)
    before, after = (red_over_blue(x) for x in (heads.image, task.adapt(heads, task.average)))
    assert before < red_over_blue(truth.image[:1])
    assert after > before + 0.05
    assert out.stat().st_size > 1000


@pytest.mark.parametrize("preset", ["ffhq_mindthegap", "ffhq_difa"])
def test_the_published_presets_train(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path, preset: str
) -> None:
    short = ("loop.steps=2", "one_shot.inversion.steps=1")
    task = task_of(preset, generator, codes, truth, tmp_path / "dark.tokens", *short)
    figures = task.step(0, {})
    weights = task.config.weights
    asked = {name for name in figures if name != "loss" and getattr(weights, name)}
    assert (
        asked
        == {
            "ffhq_mindthegap": {"direction", "within", "reference", "l2", "perceptual"},
            "ffhq_difa": {"direction", "local", "consistency"},
        }[preset]
    )


def test_a_reference_is_inverted_into_a_head_of_the_generators_own(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path
) -> None:
    wanted = generator.synthesis(codes.w_plus[1:2]).clamp(-1, 1)
    steps = "one_shot.inversion.steps=40"
    out = tmp_path / "own.tokens"
    task = task_of("demo_mindthegap", generator, codes, truth, out, steps, reference=wanted)
    before = (generator.synthesis(codes.w_plus[:1]).clamp(-1, 1) - wanted).square().mean()
    assert (task.inversion - wanted).square().mean() < 0.5 * before


def test_consistency_is_kept_in_the_checkpoints(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path
) -> None:
    task = task_of("demo_difa", generator, codes, truth, tmp_path / "dark.tokens", "loop.steps=9")
    run(task, None, task.config.loop, tmp_path / "run", quiet=True)
    again = task_of("demo_difa", generator, codes, truth, tmp_path / "dark.tokens", "loop.steps=9")
    run(again, None, again.config.loop, tmp_path / "run", quiet=True)
    assert int(again.consistency.seen) == 9
    assert torch.equal(again.consistency.changes, task.consistency.changes)


@pytest.mark.parametrize("way", ["mindthegap", "difa"])
def test_a_guide_is_asked_for(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path, way: str
) -> None:
    with pytest.raises(UsageError, match=f"way {way} is guided by CLIP"):
        task_of(f"demo_{way}", generator, codes, truth, tmp_path / "dark.tokens", clips={})


GOGA = (
    *("loop.steps=60", "one_shot.mixed_share=1.0", "weights.structure=0", "weights.laplacian=0.1"),
    *("weights.l2=10.0", "weights.perceptual=0.1", "weights.style=1.0", "weights.penalty=0.01"),
)


def test_one_reference_is_rebuilt_and_others_take_its_look(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path
) -> None:
    task = task_of("demo_one_shot", generator, codes, truth, tmp_path / "dark.tokens", *GOGA)
    run_config = task.config

    def errors(synthesis: object) -> tuple[float, float]:
        """Of the reference, and of mean colour of other heads with its fine rows."""
        latents = torch.cat([codes.w_plus[:1], task.mix(codes.w_plus[1:])])
        image = synthesis(latents).clamp(-1, 1)
        colour = (image[1:].mean(dim=(0, 2, 3)) - truth.image[0].mean(dim=(1, 2))).abs().mean()
        return (image[0] - truth.image[0]).square().mean().item(), colour.item()

    before = errors(generator.synthesis)
    (path,) = run(task, None, run_config.loop, tmp_path / "run", quiet=True)
    tokens = read_token_set(path, table=generator.table, fingerprint=generator.fingerprint())
    packed = pack([tokens], generator.table)
    tokens = PackedTokens(*(x.expand(6, *x.shape[1:]) for x in packed))
    after = errors(lambda w_plus: generator.synthesis(w_plus, tokens))
    assert after[0] < 0.7 * before[0]
    assert after[1] < 0.7 * before[1]
    assert task.samples().shape == (3 * 32, 8 * 32, 3)


def test_a_mixed_head_has_the_references_fine_rows(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path
) -> None:
    task = task_of("demo_one_shot", generator, codes, truth, tmp_path / "dark.tokens", *GOGA)
    mixed = task.mix(codes.w_plus[1:])
    assert torch.equal(mixed[:, :4], codes.w_plus[1:, :4])
    assert torch.equal(mixed[:, 4:], codes.w_plus[:1, 4:].expand(5, -1, -1))


def test_starting_from_the_references_tokens(
    generator: Generator, codes: Codes, truth: Any, tmp_path: Path
) -> None:
    inputs = ("demo_one_shot", generator, codes, truth, tmp_path / "dark.tokens")
    start = "one_shot.start_from_reference=true"
    task = task_of(*inputs, start)
    started = task.change.synthesize(generator.synthesis, codes.w_plus[:1], PackedTokens())
    expected = generator.synthesis(codes.w_plus[:1], codes[[0]].tokens)
    torch.testing.assert_close(started, expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(UsageError, match="heads of a batch"):
        task_of(*inputs, "loop.batch_size=1", "weights.laplacian=0.1")
    with pytest.raises(UsageError, match="--parameterisation tokens"):
        task_of(*inputs, start, "training.parameterisation=full")
    with pytest.raises(UsageError, match="sees its style"):
        task_of(*inputs, arcface=None)
