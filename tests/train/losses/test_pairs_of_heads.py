"""Losses on the pairs of a batch against sums over the pairs."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rs_train.losses.in_domain_angle import in_domain_angle_loss
from rs_train.losses.laplacian import laplacian_loss
from rs_train.losses.target_direction import target_direction_loss


def embeddings(count: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return F.normalize(torch.randn(count, 6), dim=1), F.normalize(torch.randn(count, 6), dim=1)


def test_angles_equal_a_sum_over_pairs() -> None:
    source, target = embeddings()
    terms = [
        (float(source[i] @ source[j]) - float(target[i] @ target[j])) ** 2
        for i in range(4)
        for j in range(i)
    ]
    assert in_domain_angle_loss(source, target).item() == pytest.approx(sum(terms) / 6, rel=1e-5)


def test_turning_all_pictures_alike_costs_no_angle_and_collapsing_them_does() -> None:
    source, _ = embeddings()
    rotation, _ = torch.linalg.qr(torch.randn(6, 6))
    assert in_domain_angle_loss(source, source @ rotation).item() == pytest.approx(0, abs=1e-10)
    assert in_domain_angle_loss(source, source[:1].expand(4, -1)).item() > 0.1


def test_target_direction_equals_a_sum_over_pairs_of_different_domains() -> None:
    target, text = embeddings()
    text[2] = text[0]  # two pictures of one domain have no direction between them
    terms = []
    for i, j in ((1, 0), (2, 1), (3, 0), (3, 1), (3, 2)):
        a, b = (target[i] - target[j]).tolist(), (text[i] - text[j]).tolist()
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        terms.append(1 - dot / math.hypot(*a) / math.hypot(*b))
    assert target_direction_loss(target, text).item() == pytest.approx(sum(terms) / 5, rel=1e-5)


def test_target_direction_asks_nothing_of_one_domain_and_of_pictures_that_differ_as_texts() -> None:
    target, text = embeddings()
    assert target_direction_loss(0.3 * text + 1, text).item() == pytest.approx(0, abs=1e-6)
    target.requires_grad_()
    loss = target_direction_loss(target, text[:1].expand(4, -1))
    loss.backward()
    assert loss.item() == 0 and not target.grad.any()


def test_laplacian_equals_a_sum_over_pairs() -> None:
    source, target = embeddings()
    w = 20 * torch.randn(4, 2, 5)
    change, total = target - source, 0.0
    for i in range(4):
        for j in range(4):
            affinity = math.exp(-float((w[i] - w[j]).norm()) / 128)
            total += 0.5 * affinity * float((change[i] - change[j]).square().sum())
    expected = total / ((16 - 4) * 6)
    assert laplacian_loss(w, source, target).item() == pytest.approx(expected, rel=1e-4)


def test_equal_changes_cost_nothing_and_far_heads_little() -> None:
    source, target = embeddings()
    w = torch.randn(4, 5)
    assert laplacian_loss(w, source, source + 0.3).item() == pytest.approx(0, abs=1e-7)
    near, far = (laplacian_loss(scale * w, source, target).item() for scale in (1, 500))
    assert 0 < far < 0.1 * near


@pytest.mark.parametrize("loss", [in_domain_angle_loss, lambda s, t: laplacian_loss(s, s, t)])
def test_gradients_reach_the_target_and_one_picture_is_refused(loss) -> None:
    source, target = embeddings()
    target.requires_grad_()
    loss(source, target).backward()
    assert torch.isfinite(target.grad).all() and target.grad.any()
    with pytest.raises(ValueError, match="a batch of one"):
        loss(source[:1], target[:1])
