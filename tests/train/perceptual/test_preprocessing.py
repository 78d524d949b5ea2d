"""Preprocessing equals open_clip's; the torchvision shim lets open_clip in."""

from unittest import mock

import numpy as np
import pytest
import torch
import torch.library
from PIL import Image

from rs_runtime.contracts.errors import UsageError
from rs_train.perceptual.clip import load_clip
from rs_train.perceptual.preprocessing import CLIP_STD, Preprocessing, to_clip_input, to_size
from rs_train.perceptual.torchvision_shim import (
    import_package,
    missing_torchvision_operators_ignored,
)


@pytest.mark.parametrize("shape", [(96, 96), (130, 90), (77, 131), (32, 40)])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_equals_open_clips_transform(shape: tuple[int, int], mode: str, interpolation: str) -> None:
    import_package("open_clip", "This test")
    from open_clip.transform import image_transform

    # smooth colour with hard edges, as portraits have
    rng = np.random.default_rng(0)
    small = rng.integers(60, 196, (7, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(shape[::-1], Image.Resampling.BICUBIC)
    pixels = np.array(picture)
    pixels[10:20, 8:25] = (190, 60, 90)
    expected = image_transform(48, False, resize_mode=mode, interpolation=interpolation)(
        Image.fromarray(pixels)
    )
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    preprocessing = Preprocessing(size=48, resize_mode=mode, interpolation=interpolation)
    got = to_clip_input(image, preprocessing)[0]
    # Pillow rounds to 8 bits after each of its two passes
    assert (got - expected).abs().max() < 1.6 / 255 / min(CLIP_STD)


def test_preprocessing_passes_gradients() -> None:
    image = torch.zeros(1, 3, 20, 20, requires_grad=True)
    to_clip_input(image, Preprocessing(size=8)).sum().backward()
    assert (image.grad != 0).all()


def test_to_size_pools_whole_factors_exactly() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert to_size(image, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert to_size(image, 4) is image
    assert to_size(image, 3).shape == (1, 3, 3, 3)


def test_a_real_architecture_loads_through_the_same_class() -> None:
    torch.manual_seed(0)
    guide = load_clip("open_clip:ViT-S-32-alt")
    image = guide.embed_image(torch.rand(2, 3, 64, 80) * 2 - 1)
    text = guide.embed_text(["a photo", "a sketch"])
    assert image.shape == text.shape
    torch.testing.assert_close(image.norm(dim=1), torch.ones(2))
    assert guide.preprocessing.size == 224


def test_unknown_architecture() -> None:
    with pytest.raises(UsageError, match="NoSuchNet"):
        load_clip("open_clip:NoSuchNet")


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
