"""Correlation of coarse luminance."""

import pytest
import torch

from rs_train.losses.structure import coarse_luminance, structure_loss


def test_brightness_contrast_and_colour_balance_do_not_matter() -> None:
    torch.manual_seed(0)
    grey = torch.randn(3, 1, 16, 16).expand(-1, 3, -1, -1)
    tinted = 0.5 * grey + torch.tensor([0.2, -0.1, 0.3])[:, None, None]
    assert structure_loss(grey, tinted).item() == pytest.approx(0, abs=1e-4)
    assert structure_loss(grey, -grey).item() == pytest.approx(2, abs=1e-4)


def test_equals_numpys_correlation() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(1, 3, 16, 16), torch.randn(1, 3, 16, 16)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    pooled = [
        (x * weights).sum(1).reshape(4, 4, 4, 4).mean(dim=(1, 3)).flatten() for x in (a, b)
    ]
    expected = 1 - torch.corrcoef(torch.stack(pooled))[0, 1]
    assert structure_loss(a, b).item() == pytest.approx(expected.item(), abs=1e-4)
    assert coarse_luminance(a).shape == (1, 16)
