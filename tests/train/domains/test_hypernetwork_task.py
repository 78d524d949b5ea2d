"""A tiny hypernetwork learns two domains at once, and what its batches are made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rs_runtime.contracts.errors import UsageError
from rs_train.checkpoint import load_model
from rs_train.domains.codes import Codes
from rs_train.domains.hypernetwork import require_match
from rs_train.domains.parameterisation import add_domain
from rs_train.domains.pictures import DomainPictures
from rs_train.domains.pool import HeadPool, PoolConfig
from rs_train.generator import Generator, PackedTokens
from rs_train.grids import to_pixels
from rs_train.loop import LoopConfig, run
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.tasks.hypernetwork import HypernetworkTask
from rs_train.tasks.hypernetwork_config import (
    HypernetworkRun,
    HypernetworkSize,
    HypernetworkTraining,
    Weights,
)

DOMAINS = {"dark": ("a dark picture", "a night"), "pale": ("a pale picture", "mist")}
STEPS = 60


def config(predicts: str = "modulation", **weights: float) -> HypernetworkRun:
    none = dict.fromkeys(Weights.__dataclass_fields__, 0.0)
    return HypernetworkRun(
        source="a picture",
        domains=DOMAINS,
        network=HypernetworkSize(embed_dim=8, predicts=predicts, rank=2, width=16),
        training=HypernetworkTraining(
            heads=2, mixtures=1, lr=0.003, decay_from=0.3, precision="fp32"
        ),
        weights=Weights(**(none | weights)),
        loop=LoopConfig(steps=STEPS, batch_size=2, sample_every=STEPS, checkpoint_every=STEPS),
    )


@pytest.fixture(scope="module")
def clip() -> Clip:
    torch.manual_seed(0)
    return Clip(ClipConfig(image_size=32, embed_dim=8, vision_width=8, context_length=16)).eval()


@pytest.fixture
def pool(generator: Generator, codes: Codes) -> HeadPool:
    heads = PoolConfig(random_heads=3, portrait_share=0.5)
    return HeadPool(generator, heads, codes, seed=0, precision="fp32")


def true_pictures(generator: Generator, codes: Codes) -> dict[str, Tensor]:
    """The six portraits in both domains, each a change that m and a residual can be."""
    torch.manual_seed(5)
    table, pictures = generator.table, {}
    for name in DOMAINS:
        change = PackedTokens(
            P=0.3 * torch.randn(1, 1, table.sum_out).expand(6, -1, -1),
            Q=0.3 * torch.randn(1, 1, table.sum_in).expand(6, -1, -1),
            modulation=1 + 0.4 * torch.randn(1, table.sum_in).expand(6, -1),
        )
        tokens = add_domain(codes.tokens, change)
        pictures[name] = generator.synthesis(codes.w_plus, tokens).clamp(-1, 1)
    return pictures


@pytest.fixture(scope="module")
def folder(generator: Generator, codes: Codes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six portraits in both domains."""
    root = tmp_path_factory.mktemp("pictures")
    for name, images in true_pictures(generator, codes).items():
        (root / name).mkdir()
        for index, picture in enumerate(to_pixels(images)):
            Image.fromarray(picture).save(root / name / f"{index}.png")
    return root


def new_task(
    run_config: HypernetworkRun,
    generator: Generator,
    pool: HeadPool,
    clip: Clip,
    pictures: DomainPictures | None,
    out: Path = Path("unused"),
) -> HypernetworkTask:
    return HypernetworkTask(
        run_config,
        generator=generator,
        pool=pool,
        clip=clip,
        arcface=None,
        pictures=pictures,
        out=out,
    )


def test_items_are_scenes_of_a_domain(generator: Generator, codes: Codes, folder: Path) -> None:
    pictures = DomainPictures(folder, list(DOMAINS), 32, heads=2)
    assert len(pictures) == 12
    batch = pictures.batch([0, 1, 11])
    assert batch["domain"].tolist() == [0, 1, 1]
    assert batch["scene"].tolist() == [[0, 1], [0, 1], [5, 0]]
    truth = list(true_pictures(generator, codes).values())
    for domain, scenes, images in zip(batch["domain"], batch["scene"], batch["image"], strict=True):
        assert (images - truth[domain][scenes]).abs().max() < 0.01
    assert torch.equal(pictures.all(1)[:2], batch["image"][1])


def test_folders_of_other_lengths_are_refused(folder: Path, tmp_path: Path) -> None:
    for name, count in (("dark", 2), ("pale", 3)):
        (tmp_path / name).mkdir()
        for index in range(count):
            blank = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
            blank.save(tmp_path / name / f"{index}.png")
    with pytest.raises(UsageError, match="same scenes"):
        DomainPictures(tmp_path, list(DOMAINS), 32, heads=1)


@pytest.mark.parametrize("predicts", ["modulation", "tokens"])
def test_two_domains_are_learnt_at_once(
    predicts: str,
    generator: Generator,
    codes: Codes,
    pool: HeadPool,
    clip: Clip,
    folder: Path,
    tmp_path: Path,
) -> None:
    run_config = config(predicts, l1=1.0, size=0.001)
    without = replace(run_config.training, picture_share=0.0, mixtures=0)
    run_config = replace(run_config, training=without)
    pictures = DomainPictures(folder, list(DOMAINS), 32, heads=2)
    out = tmp_path / "h.safetensors"
    task = new_task(run_config, generator, pool, clip, pictures, out)
    run(task, pictures, run_config.loop, tmp_path / "run", quiet=True)
    network = load_model(out, expect="hypernetwork")
    require_match(network, generator, clip)
    plain = generator.synthesis(codes.w_plus, codes.tokens)
    for name, truth in true_pictures(generator, codes).items():
        change = network(clip.embed_text(DOMAINS[name][:1]).expand(6, -1))
        image = generator.synthesis(codes.w_plus, add_domain(codes.tokens, change))
        before = (plain.clamp(-1, 1) - truth).abs().mean()
        assert (image.clamp(-1, 1) - truth).abs().mean() < 0.9 * before, name


def test_mixtures_stand_beside_pictures_and_in_the_place_of_texts(
    generator: Generator, pool: HeadPool, clip: Clip, folder: Path
) -> None:
    run_config = config(direction=1.0)
    pictures = DomainPictures(folder, list(DOMAINS), 32, heads=2)
    task = new_task(run_config, generator, pool, clip, pictures)
    lesson = task._lesson(pictures.batch([3, 4]))
    assert len(lesson.embedding) == len(lesson.heads.w_plus) == 6
    assert len(lesson.truth) == 4
    torch.testing.assert_close(lesson.heads.w_plus[:4], pool.codes.w_plus[[4, 5, 5, 6]])
    assert torch.equal(lesson.target[:2], task.embeddings.targets[[1, 1]])
    assert torch.equal(lesson.target[4], lesson.target[5])  # two heads of one mixture
    torch.testing.assert_close(lesson.embedding.norm(dim=1), torch.ones(6))
    alone = new_task(run_config, generator, pool, clip, None)._lesson({})
    assert len(alone.embedding) == 2
    assert alone.truth is None


def test_text_alone_trains_and_every_published_loss_counts(
    generator: Generator, pool: HeadPool, clip: Clip
) -> None:
    run_config = config(direction=1.0, in_domain_angle=0.5, target_direction=0.4, size=0.1)
    several = replace(run_config, training=replace(run_config.training, mixtures=2))
    figures = new_task(several, generator, pool, clip, None).step(0, {})
    parts = ("direction", "in_domain_angle", "target_direction", "size")
    weighted = sum(getattr(several.weights, name) * figures[name] for name in parts)
    assert figures["loss"] == pytest.approx(weighted, rel=1e-4)
    assert all(figures[name] > 0 for name in parts)


def test_what_cannot_work_is_refused(generator: Generator, pool: HeadPool, clip: Clip) -> None:
    run_config = config(in_domain_angle=1.0)
    single = replace(run_config, training=replace(run_config.training, heads=1))
    with pytest.raises(UsageError, match="compares the heads"):
        new_task(single, generator, pool, clip, None)
    longer = replace(run_config, network=replace(run_config.network, embed_dim=512))
    with pytest.raises(UsageError, match="embed_dim"):
        new_task(longer, generator, pool, clip, None)
