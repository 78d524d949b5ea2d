"""The demo's prompt CLIP knows looks by their phrases and by what people call them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rs_train.perceptual.clip import Clip, load_clip
from rs_train.pixels import from_levels
from rs_train.portraits import COMPOSED, domain_style, render, sample_scene
from rs_train.portraits.looks import SEEN, all_looks

DEMO = Path(__file__).parents[3] / "rs_train" / "demo" / "prompt_clip.safetensors"
COUNT = 4  # pictures of each look
PROMPTS = [  # and what the best of the 36 looks must be, in "medium-palette-line-light"
    ("a charcoal drawing of a face", "charcoal"),
    ("a face drawn in chalk", "chalk"),
    ("a crayon drawing in pale colours", "chalk-light"),
    ("a watercolour of a woman", "washes"),
    ("a sepia photograph of a man", "smooth-sepia"),
    ("pop art", "pop"),
    ("an oil painting of a head in vivid colors", "strokes-saturated"),
    ("a cross-hatched drawing in dark blue", "hatching-ink"),
    ("a cartoon in charcoal tones", "smooth-charcoal"),
]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The checkpoint in the repository."""
    return load_clip(DEMO)


@pytest.fixture(scope="module")
def pictures(clip: Clip) -> Tensor:
    """Embeddings [36, COUNT, D] of pictures in every look; scenes that no training saw."""
    looks = [
        np.stack([render(sample_scene(990, i), 96, name).image for i in range(COUNT)])
        for name in all_looks()
    ]
    images = [from_levels(torch.from_numpy(look).permute(0, 3, 1, 2)) for look in looks]
    return torch.stack([clip.embed_image(image) for image in images])


def test_phrases_find_their_pictures_and_pictures_their_phrases(
    clip: Clip, pictures: Tensor
) -> None:
    texts = clip.embed_text([f"{domain_style(name).phrase} of a person" for name in all_looks()])
    similarity = pictures @ texts.T  # [36, COUNT, 36]
    own = torch.arange(len(texts))
    of_picture = (similarity.argmax(dim=-1) == own[:, None]).float().mean(dim=1)
    best = similarity.flatten(0, 1).topk(COUNT, dim=0).indices // COUNT  # [COUNT, 36]
    of_text = (best == own).float().mean(dim=0)
    for accuracy in (of_picture, of_text):  # chance is 0.03
        assert accuracy[: len(SEEN)].mean() > 0.9
        assert accuracy[len(SEEN) :].mean() > 0.9


@pytest.mark.parametrize(("prompt", "expected"), PROMPTS)
def test_prompts_in_other_words_find_such_a_look(
    clip: Clip, pictures: Tensor, prompt: str, expected: str
) -> None:
    looks = F.normalize(pictures.mean(dim=1), dim=1)
    found = all_looks()[int((clip.embed_text([prompt]) @ looks.T).argmax())]
    assert f"-{expected}-" in f"-{found}-"


def test_every_word_of_every_look_was_learnt(clip: Clip) -> None:
    table = clip.network.token_embedding.weight
    ids = clip.tokenizer([f"{domain_style(name).phrase} of a person" for name in COMPOSED])
    assert table[ids[ids > 0]].abs().amax(dim=1).min() > 0
    assert DEMO.stat().st_size < 2.5e6
