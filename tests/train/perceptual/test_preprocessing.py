"""Preprocessing equals open_clip's; the torchvision shim lets open_clip in."""

from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pytest
import torch
import torch.library
import torch.nn.functional as F
from PIL import Image

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.perceptual.clip import load_clip, load_open_clip
from rs_train.perceptual.preprocessing import CLIP_STD, Preprocessing, to_clip_input, to_size
from rs_train.perceptual.torchvision_shim import (
    import_package,
    missing_torchvision_operators_ignored,
)

# Pillow rounds to 8 bits after each of its two passes
TOLERANCE = 1.6 / 255 / min(CLIP_STD)


def open_clip() -> ModuleType:
    return import_package("open_clip.transform", "This test")


def portrait(shape: tuple[int, int]) -> np.ndarray:
    """Smooth colour with hard edges, as portraits have."""
    rng = np.random.default_rng(0)
    small = rng.integers(60, 196, (7, 7, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(small).resize(shape[::-1], Image.Resampling.BICUBIC))
    pixels[10:20, 8:25] = (190, 60, 90)
    return pixels


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("shape", [(96, 96), (130, 90), (77, 131), (32, 40)])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_equals_open_clips_transform(shape: tuple[int, int], mode: str, interpolation: str) -> None:
    pixels = portrait(shape)
    transform = open_clip().image_transform(
        48, False, resize_mode=mode, interpolation=interpolation
    )
    expected = transform(Image.fromarray(pixels))
    preprocessing = Preprocessing(size=48, resize_mode=mode, interpolation=interpolation)
    got = to_clip_input(as_tensor(pixels), preprocessing)[0]
    assert (got - expected).abs().max() < TOLERANCE


def test_preprocessing_passes_gradients() -> None:
    image = torch.zeros(1, 3, 20, 20, requires_grad=True)
    to_clip_input(image, Preprocessing(size=8)).sum().backward()
    assert (image.grad != 0).all()


def test_to_size_pools_whole_factors_exactly() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert to_size(image, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert to_size(image, 4) is image
    assert to_size(image, 3).shape == (1, 3, 3, 3)


PUBLISHED = ("ViT-B-32", "ViT-B-16")


@pytest.mark.parametrize(
    "name", ["ViT-S-32-alt", *(pytest.param(name, marks=pytest.mark.nightly) for name in PUBLISHED)]
)
@torch.no_grad()
def test_a_real_network_sees_what_open_clip_shows_it(name: str) -> None:
    torch.manual_seed(0)
    guide = load_open_clip(name, pretrained=None)
    transform = open_clip().image_transform_v2(
        open_clip().PreprocessCfg(**guide.network.visual.preprocess_cfg), is_train=False
    )
    pixels = portrait((300, 260))
    expected = transform(Image.fromarray(pixels))
    got = to_clip_input(as_tensor(pixels), guide.preprocessing)[0]
    assert got.shape == (3, 224, 224)
    assert (got - expected).abs().max() < TOLERANCE
    embedded = F.normalize(guide.network.encode_image(expected[None]), dim=1)
    cosine = (guide.embed_image(as_tensor(pixels)) * embedded).sum()
    assert cosine.item() == pytest.approx(1, abs=1e-4)
    texts = guide.embed_prompt("photo")
    assert texts.shape == (80, embedded.shape[1])
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(80))
    torch.testing.assert_close(texts[:1], guide.embed_text(["a bad photo of a photo."]))


def test_what_open_clip_cannot_load_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="NoSuchNet"):
        load_clip("open_clip:NoSuchNet:openai")
    with pytest.raises(UsageError, match="names no weights"):
        load_clip("open_clip:ViT-B-32")
    (tmp_path / "bad.pt").write_bytes(b"hello")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    for weights in ("no_such_tag", tmp_path / "bad.pt", tmp_path / "other.pt"):
        with pytest.raises(IncompatibleError, match="open_clip cannot load"):
            load_clip(f"open_clip:ViT-S-32-alt:{weights}")


def test_shim_ignores_missing_torchvision_operators_alone() -> None:
    original = torch.library.register_fake

    def function() -> None:
        """A fake."""

    with missing_torchvision_operators_ignored():
        register = torch.library.register_fake("torchvision::no_such_operator")
        assert register(function) is function
        with pytest.raises(RuntimeError, match="does not exist"):
            torch.library.register_fake("other::no_such_operator")(function)
        with mock.patch.object(torch.library, "Library", side_effect=RuntimeError("broken")), \
            pytest.raises(RuntimeError, match="broken"):  # fmt: skip
            torch.library.register_fake("torchvision::nms2")(function)
    assert torch.library.register_fake is original
