"""The additive angular margin."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from rs_train.losses.angular_margin import angular_margin_loss


def reference(embedding, prototypes, labels, margin, scale) -> float:
    """Plain loops over Deng et al. 2019, Eq. 3."""
    total = 0.0
    for x, label in zip(embedding.tolist(), labels.tolist(), strict=True):
        logits = []
        for k, w in enumerate(prototypes.tolist()):
            norm = math.sqrt(sum(v * v for v in w))
            angle = math.acos(sum(a * b for a, b in zip(x, w, strict=True)) / norm)
            logits.append(scale * math.cos(angle + margin * (k == label)))
        largest = max(logits)
        total += largest + math.log(sum(math.exp(v - largest) for v in logits)) - logits[label]
    return total / len(labels)


def test_equals_the_formula() -> None:
    torch.manual_seed(0)
    embedding = F.normalize(torch.randn(6, 5, dtype=torch.float64), dim=1)
    prototypes = torch.randn(4, 5, dtype=torch.float64) * 3
    labels = torch.tensor([0, 1, 2, 3, 1, 0])
    got = angular_margin_loss(embedding, prototypes, labels, margin=0.3, scale=10)
    assert got.item() == pytest.approx(reference(embedding, prototypes, labels, 0.3, 10), rel=1e-6)


def test_beyond_the_wrap_the_loss_keeps_growing_with_the_angle() -> None:
    prototypes = torch.eye(2)
    losses = [
        angular_margin_loss(
            torch.tensor([[math.cos(angle), -math.sin(angle)]]),
            prototypes,
            torch.tensor([0]),
            margin=0.5,
            scale=4,
        ).item()
        for angle in torch.linspace(math.pi / 2, 3.1, 40)
    ]
    assert all(later > earlier for earlier, later in pairwise(losses))
