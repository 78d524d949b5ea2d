"""The judges overfit a handful of pictures, and survive their files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from rs_runtime.contracts.errors import UsageError
from rs_train.checkpoint import load_model
from rs_train.loop import LoopConfig, run
from rs_train.perceptual.arcface import ArcFaceConfig
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.perceptual.labelled import LabelledPortraits
from rs_train.perceptual.metric import MetricConfig
from rs_train.tasks.judge import (
    ArcFaceRun,
    ArcFaceTask,
    ClipRun,
    ClipTask,
    ClipTraining,
    JudgeTask,
    JudgeTraining,
    MetricRun,
    MetricTask,
    learning_rate,
)

TRAINING = JudgeTraining(lr=0.01, warmup=5, precision="fp32")
LOOP = LoopConfig(steps=30, batch_size=12, sample_every=0, checkpoint_every=100)
CHANNELS = (8, 12, 16)


def train(task: JudgeTask, data: LabelledPortraits, tmp_path: Path) -> torch.nn.Module:
    (path,) = run(task, data, task.config.loop, tmp_path / "run", quiet=True)
    return load_model(path, expect=task.model.kind)


CLIP = ClipConfig(
    image_size=32,
    embed_dim=16,
    vision_layers=(1, 1, 1, 1),
    vision_width=8,
    text_width=16,
    text_layers=1,
    text_heads=1,
    context_length=24,
)
CLIP_TRAINING = ClipTraining(lr=0.003, warmup=5, precision="fp32")


def train_clip(training: ClipTraining, data: LabelledPortraits, tmp_path: Path) -> Clip:
    loop = replace(LOOP, steps=100)
    task = ClipTask(ClipRun(model=CLIP, training=training, loop=loop), data, tmp_path / "c")
    return train(task, data, tmp_path)


def found_captions(clip: Clip, data: LabelledPortraits) -> int:
    """How many of the 12 pictures are nearest to their own of the 6 captions."""
    captions = sorted(set(data.labels.captions))
    with torch.no_grad():
        similarity = clip.embed_image(data.images(range(12))) @ clip.embed_text(captions).T
    found = [captions[i] for i in similarity.argmax(dim=1).tolist()]
    return sum(a == b for a, b in zip(found, data.labels.captions, strict=True))


def test_clip_finds_the_caption_of_each_picture(data: LabelledPortraits, tmp_path: Path) -> None:
    trained = train_clip(CLIP_TRAINING, data, tmp_path)
    assert found_captions(trained, data) >= 7  # chance is 2
    # words that no caption or template holds say nothing
    table = trained.network.token_embedding.weight
    unknown = trained.tokenizer("helicopter")[0, 1]
    known = trained.tokenizer("sketch")[0, 1]
    assert table[unknown].abs().max() == 0
    assert table[known].abs().max() > 0


def test_clip_learns_words_of_its_own_and_looks_in_other_words(
    data: LabelledPortraits, tmp_path: Path
) -> None:
    training = replace(CLIP_TRAINING, vocabulary=400, rewording=1.0)
    trained = train_clip(training, data, tmp_path)
    assert trained.network.vocab_size == trained.tokenizer.vocab_size <= 400
    assert trained.config.tokenizer
    texts = ["a pencil drawing in soft light", "a photograph of a woman"]
    with torch.no_grad():
        similarity = trained.embed_image(data.images(range(12))) @ trained.embed_text(texts).T
    sketch = data.labels.domains.index("sketch")
    is_sketch = data.labels.domain == sketch
    assert ((similarity[:, 0] > similarity[:, 1]) == is_sketch).float().mean() > 0.8


def test_rewording_needs_looks_that_the_renderer_knows(
    data: LabelledPortraits, tmp_path: Path
) -> None:
    data.labels = replace(data.labels, domains=("photo", "mosaic"))
    with pytest.raises(UsageError, match="mosaic"):
        train_clip(replace(CLIP_TRAINING, rewording=0.4), data, tmp_path)


def test_arcface_tells_people_apart(data: LabelledPortraits, tmp_path: Path) -> None:
    model = ArcFaceConfig(image_size=32, channels=CHANNELS, embed_dim=8)
    task = ArcFaceTask(ArcFaceRun(model=model, training=TRAINING, loop=LOOP), data, tmp_path / "a")
    trained = train(task, data, tmp_path)
    embedding = trained.embed(data.images(range(12)))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(12))
    similarity = embedding @ embedding.T
    same = data.labels.identity[:, None] == data.labels.identity[None]
    assert similarity[same].min() > similarity[~same].max()


def test_metric_network_learns_all_its_heads(data: LabelledPortraits, tmp_path: Path) -> None:
    model = MetricConfig(image_size=32, channels=CHANNELS, embed_dim=8)
    loop = replace(LOOP, steps=2 * LOOP.steps)
    task = MetricTask(MetricRun(model=model, training=TRAINING, loop=loop), data, tmp_path / "m")
    trained = train(task, data, tmp_path)
    heads = trained(data.images(range(12)))
    assert trained.config.domains == ("photo", "sketch")
    assert torch.equal(heads["domain"].argmax(dim=1), data.labels.domain)
    attributes = data.labels.attributes
    wanted = (attributes - attributes.mean(0)) / attributes.std(0)
    assert F.mse_loss(heads["attributes"], wanted) < 0.5  # 1 is knowing nothing
    assert trained.embed(data.images([0, 1])).shape == (2, CHANNELS[-1])
    assert [m.shape[1] for m in trained.features(data.images([0]))] == list(CHANNELS)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.2), (4, 1.0), (5, 1.0), (105, 0.0)])
def test_learning_rate(step: int, expected: float) -> None:
    training = JudgeTraining(lr=1.0, warmup=5)
    assert learning_rate(step, 105, training) == pytest.approx(expected)
