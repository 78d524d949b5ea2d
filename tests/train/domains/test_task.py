"""Tiny domain trainings change the picture in the wanted way and write what they learnt."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.tokens import read_token_set
from rs_train.checkpoint import load_model
from rs_train.config import load
from rs_train.domains.codes import Codes
from rs_train.domains.description import DomainDescription
from rs_train.domains.pool import HeadPool, PoolConfig
from rs_train.generator import Generator
from rs_train.loop import LoopConfig, run
from rs_train.perceptual.arcface import ArcFace, ArcFaceConfig
from rs_train.perceptual.augment import Augmentation
from rs_train.tables.domains import restyle, span
from rs_train.tables.inversion import synthesize
from rs_train.tasks.domain import FAMILIES, Subject, learning_rate
from rs_train.tasks.domain_config import DomainRun, DomainTraining, Weights
from rs_train.tasks.guided_domain import GuidedDomainTask
from rs_train.tasks.paired_domain import PairedDomainTask

STEPS = 60
ABOUT = DomainDescription(name="dark", source="a dark picture")


def config(**weights: float) -> DomainRun:
    none = dict.fromkeys(Weights.__dataclass_fields__, 0.0)
    view = Augmentation(crop=0.05)
    return DomainRun(
        training=DomainTraining(
            rank=2,
            lr=0.02,
            average=0.9,
            discriminator_width=4,
            precision="fp32",
            guide_view=view,
            discriminator_view=view,
        ),
        weights=Weights(**(none | weights)),
        loop=LoopConfig(steps=STEPS, batch_size=4, sample_every=0, checkpoint_every=STEPS),
    )


@pytest.fixture
def pool(generator: Generator, codes: Codes) -> HeadPool:
    return HeadPool(generator, PoolConfig(random_heads=0), codes, seed=0, precision="fp32")


def subject(run_config: DomainRun, generator: Generator, pool: HeadPool, out: Path) -> Subject:
    return Subject(config=run_config, generator=generator, pool=pool, about=ABOUT, out=out)


def arcface() -> ArcFace:
    torch.manual_seed(0)
    return ArcFace(ArcFaceConfig(image_size=32, channels=(6, 8), embed_dim=4))


def error(generator: Generator, codes: Codes, path: Path | None, truth: torch.Tensor) -> float:
    if path is None:
        image = synthesize(generator, codes)
    else:
        fingerprint = generator.fingerprint()
        tokens = read_token_set(path, table=generator.table, fingerprint=fingerprint)
        image = restyle(generator, codes, tokens)
    return (image - truth).square().mean().item()


def test_pairs_are_fitted(
    generator: Generator, codes: Codes, pool: HeadPool, truth: object, tmp_path: Path
) -> None:
    run_config = config(l1=1.0, perceptual=0.1)
    out = tmp_path / "dark.tokens"
    task = PairedDomainTask(subject(run_config, generator, pool, out), arcface=arcface())
    (path,) = run(task, truth, run_config.loop, tmp_path / "run", quiet=True)
    before = error(generator, codes, None, truth.image)
    assert error(generator, codes, path, truth.image) < 0.5 * before
    token_set = read_token_set(path, table=generator.table, fingerprint=generator.fingerprint())
    assert (token_set.name, token_set.kind, token_set.rank) == ("dark", "domain", 2)
    assert token_set.source == "a dark picture"
    assert task.samples().shape == (4 * 32, 8 * 32, 3)


@pytest.mark.parametrize("family", ["tokens", "affine_plus", "full"])
def test_unpaired_references_pull_the_colours(
    generator: Generator, pool: HeadPool, truth: object, tmp_path: Path, family: str
) -> None:
    run_config = config(adversarial=0.2, texture=3.0, structure=1.0, identity=0.1, penalty=0.01)
    training = replace(run_config.training, parameterisation=family, offset_block=16)
    run_config = replace(run_config, training=training)
    task = GuidedDomainTask(
        subject(run_config, generator, pool, tmp_path / f"dark{FAMILIES[family].suffix}"),
        clips={},
        prompts=None,
        arcface=arcface(),
        has_references=True,
    )
    run(task, truth, run_config.loop, tmp_path / "run", quiet=True)
    heads = pool.take(torch.arange(6))
    wanted = truth.image.mean(dim=(0, 2, 3))
    before = (heads.image.mean(dim=(0, 2, 3)) - wanted).abs().mean()
    adapted = task.adapt(heads, task.average).clamp(-1, 1)
    after = (adapted.mean(dim=(0, 2, 3)) - wanted).abs().mean()
    assert after < 0.6 * before


@pytest.mark.parametrize("size", ["demo", "ffhq"])
@pytest.mark.parametrize("family", ["style_space", "domain_modulation", "affine_plus"])
def test_the_presets_train(
    generator: Generator, pool: HeadPool, truth: object, tmp_path: Path, size: str, family: str
) -> None:
    small = ("offset_block=16", "precision=fp32", "discriminator_width=4", "r1_every=2")
    options = [f"training.{option}" for option in small]
    options += ["loop.steps=3", "loop.batch_size=3", "loop.sample_every=0", "loop.log_every=1"]
    run_config = load(DomainRun, f"{size}_{family}", options)
    out = tmp_path / f"red{FAMILIES[family].suffix}"
    task = GuidedDomainTask(
        subject(run_config, generator, pool, out),
        clips={ColourGuide(): 1.0},
        prompts=("grey", "red"),
        arcface=arcface(),
        has_references=True,
    )
    run(task, truth, run_config.loop, tmp_path / "run", quiet=True)
    assert ("discriminator" in task.modules) == (run_config.weights.adversarial > 0)
    assert task.average.penalty(generator.synthesis) > 0
    assert out.stat().st_size > 1000


class ColourGuide(torch.nn.Module):
    """A guide whose space is mean colour: texts name a direction in it."""

    def embed_image(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(image.mean(dim=(2, 3)) + 2, dim=1)

    def embed_prompt(self, prompt: str) -> torch.Tensor:
        colours = {"grey": (2.0, 2.0, 2.0), "red": (3.0, 1.0, 1.0)}
        return torch.nn.functional.normalize(torch.tensor([colours[prompt]] * 2), dim=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_moves_pictures_along_its_direction(
    generator: Generator, pool: HeadPool, tmp_path: Path, family: str
) -> None:
    run_config = config(direction=1.0, penalty=0.01)
    run_config = replace(
        run_config,
        training=replace(run_config.training, parameterisation=family, offset_block=16, torgb=True),
        loop=replace(run_config.loop, steps=30),
    )
    out = tmp_path / f"red{FAMILIES[family].suffix}"
    task = GuidedDomainTask(
        subject(run_config, generator, pool, out),
        clips={ColourGuide(): 1.0},
        prompts=("grey", "red"),
        arcface=None,
        has_references=False,
    )
    before = generator.fingerprint()
    run(task, None, run_config.loop, tmp_path / "run", quiet=True)
    heads = pool.take(torch.arange(6))
    change = (task.adapt(heads, task.average).clamp(-1, 1) - heads.image).mean(dim=(0, 2, 3))
    assert change[0] > 0.05
    assert change[0] > change[1] + 0.05 and change[0] > change[2] + 0.05
    assert "discriminator" not in task.modules
    assert generator.fingerprint() == before
    if out.suffix == ".safetensors":
        adapted = load_model(out, expect="generator").synthesis(heads.w_plus, heads.tokens)
        expected = task.adapt(heads, task.average)
        # Sums of another order on some CPUs; the pictures' values reach 55 here.
        atol = 1e-5 * expected.abs().max().item()
        torch.testing.assert_close(adapted, expected, rtol=1e-5, atol=atol)


def test_the_rate_falls_at_the_end_alone() -> None:
    training = DomainTraining(lr=2.0, decay_from=0.5)
    assert learning_rate(0, 100, training) == learning_rate(50, 100, training) == 2.0
    assert learning_rate(75, 100, training) == pytest.approx(1.0)
    assert learning_rate(99, 100, training) < 0.01
    training = replace(training, lr_end=0.4)
    assert learning_rate(50, 100, training) == 2.0
    assert learning_rate(75, 100, training) == pytest.approx(1.2)
    assert learning_rate(100, 100, training) == pytest.approx(0.4)


def test_span() -> None:
    assert span(10.0, 10.0, 2.0) == 0
    assert span(10.0, 4.0, 2.0) == 0.75
    assert span(10.0, 4.0, 11.0) is None
