"""The contrastive loss."""

import pytest
import torch
import torch.nn.functional as F

from rs_train.losses.contrastive import contrastive_loss
from rs_train.perceptual.torchvision_shim import import_package


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=1)


def test_equals_open_clips_own_loss() -> None:
    torch.manual_seed(0)
    image, text, scale = unit(7, 12), unit(7, 12), torch.tensor(8.0)
    expected = import_package("open_clip", "This test").ClipLoss()(image, text, scale)
    assert contrastive_loss(image, text, scale).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_texts_share_the_target() -> None:
    torch.manual_seed(0)
    text = unit(2, 8).repeat_interleave(2, dim=0)
    same = torch.tensor([0, 0, 1, 1])
    same = same[:, None] == same[None]
    # pictures on their texts: the best is the entropy of a target shared by two
    loss = contrastive_loss(text, text, torch.tensor(1e3), same)
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-4)
