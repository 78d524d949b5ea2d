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
    true = torch.tensor([0, 0, 1, 1])
    true = true[:, None] == true[None]
    # pictures on their texts: the best is the entropy of a target shared by two
    loss = contrastive_loss(text, text, torch.tensor(1e3), true)
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-4)


def test_a_text_may_be_true_of_several_pictures_but_not_the_other_way_round() -> None:
    # The second text is true of both pictures; the first of its own alone.
    true = torch.tensor([[True, True], [False, True]])
    image = F.normalize(torch.tensor([[1.0, 0.2], [0.1, 1.0]]), dim=1)
    text = F.normalize(torch.tensor([[1.0, 0.0], [0.5, 0.8]]), dim=1)
    of_image = (image @ text.T).log_softmax(dim=1)
    of_text = (text @ image.T).log_softmax(dim=1)
    first = -(of_image[0].mean() + of_image[1, 1]) / 2
    second = -(of_text[0, 0] + of_text[1].mean()) / 2
    loss = contrastive_loss(image, text, torch.tensor(1.0), true)
    torch.testing.assert_close(loss, (first + second) / 2)
