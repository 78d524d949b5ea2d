"""Ensembles of guides add up, whatever each one's space is."""

import pytest
import torch
import torch.nn.functional as F

from rs_train.domains.text_guidance import TextGuidance
from rs_train.losses.direction import direction_loss, text_direction
from rs_train.losses.in_domain_angle import in_domain_angle_loss
from rs_train.perceptual.augment import Augmentation


class LinearGuide(torch.nn.Module):
    """Sees pictures through a random matrix; its texts are random vectors."""

    def __init__(self, dimension: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.matrix = torch.randn(3 * 8 * 8, dimension, generator=rng)
        self.texts = F.normalize(torch.randn(2, 4, dimension, generator=rng), dim=2)

    def embed_image(self, image: torch.Tensor) -> torch.Tensor:
        return F.normalize(image.flatten(1) @ self.matrix, dim=1)

    def embed_prompt(self, prompt: str) -> torch.Tensor:
        return self.texts[("photo", "sketch").index(prompt)]


def test_losses_are_weighted_sums_over_the_guides() -> None:
    torch.manual_seed(0)
    guides = {LinearGuide(5, seed=1): 1.0, LinearGuide(9, seed=2): 0.5}
    before, after = torch.rand(2, 3, 3, 8, 8) * 2 - 1
    losses = TextGuidance(guides, "photo", "sketch", Augmentation()).losses(before, after)
    direction = angle = 0.0
    for guide, weight in guides.items():
        source, target = guide.embed_image(before), guide.embed_image(after)
        wanted = text_direction(*guide.texts)
        direction += weight * direction_loss(source, target, wanted).item()
        angle += weight * in_domain_angle_loss(source, target).item()
    assert losses["direction"].item() == pytest.approx(direction, rel=1e-5)
    assert losses["in_domain_angle"].item() == pytest.approx(angle, rel=1e-5)


def test_one_head_has_a_direction_and_no_angles() -> None:
    guide = TextGuidance({LinearGuide(5, seed=1): 1.0}, "photo", "sketch", Augmentation())
    before, after = torch.rand(2, 1, 3, 8, 8)
    after.requires_grad_()
    losses = guide.losses(before, after)
    assert set(losses) == {"direction"}
    losses["direction"].backward()
    assert after.grad.any()
