"""Correlation of local contrast."""

import pytest
import torch

from rs_train.losses.structure import LUMINANCE, local_contrast, structure_loss


def test_brightness_contrast_and_tint_do_not_matter() -> None:
    torch.manual_seed(0)
    grey = torch.randn(3, 1, 32, 32).expand(-1, 3, -1, -1)
    tinted = 0.5 * grey + torch.tensor([0.2, -0.1, 0.3])[:, None, None]
    assert structure_loss(grey, tinted).item() == pytest.approx(0, abs=1e-4)
    assert structure_loss(grey, -grey).item() == pytest.approx(2, abs=1e-4)


def test_slow_changes_of_light_hardly_matter() -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 3, 32, 32)
    ramp = torch.linspace(-0.5, 0.5, 32).expand(1, 3, 32, 32)
    assert structure_loss(picture, picture + ramp).item() < 0.1


def test_equals_loops() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
    contrasts = []
    for x in (a, b):
        luminance = (x[0] * torch.tensor(LUMINANCE)[:, None, None]).sum(0)
        pooled = luminance.reshape(8, 4, 8, 4).mean(dim=(1, 3))

        def mirrored(i: int) -> int:
            return -i if i < 0 else 14 - i if i > 7 else i

        around = torch.zeros(8, 8)
        for i in range(8):
            for j in range(8):
                window = [
                    pooled[mirrored(i + di), mirrored(j + dj)]
                    for di in range(-2, 3)
                    for dj in range(-2, 3)
                ]
                around[i, j] = torch.stack(window).mean()
        contrasts.append((pooled - around).flatten())
    correlation = torch.corrcoef(torch.stack(contrasts))[0, 1].item()
    assert structure_loss(a, b).item() == pytest.approx(1 - correlation, abs=1e-3)
    assert structure_loss(a, b, enough=correlation + 0.25).item() == pytest.approx(0.25, abs=1e-3)
    assert structure_loss(a, b, enough=correlation - 0.01).item() == 0
    assert local_contrast(a).shape == (1, 64)
