"""The reconstruction losses against their equations."""

import pytest
import torch
from torch import Tensor

from rs_train.losses.identity import embedding_distance, identity_loss
from rs_train.losses.l2 import l2_loss
from rs_train.losses.perceptual import perceptual_loss
from rs_train.metrics.distances import map_distance


class Judge:
    """Feature maps and an embedding that are easy to predict."""

    def features(self, image: Tensor) -> list[Tensor]:
        return [image, image[..., ::2, ::2]]

    def embed(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


def test_l2_is_the_mean_square_in_fp32():
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    assert l2_loss(a, b).item() == 0.25
    assert l2_loss(a.bfloat16(), b.bfloat16()).dtype == torch.float32


def test_map_distance_follows_the_angle_alone():
    a = torch.zeros(1, 2, 3, 3)
    a[:, 0] = 5.0
    orthogonal = a.flip(1) * 7
    assert map_distance([a, a], [a * 9, a * 2]).item() == pytest.approx(0, abs=1e-6)
    assert map_distance([a], [orthogonal]).item() == pytest.approx(2, abs=1e-5)
    assert map_distance([a], [-a]).item() == pytest.approx(4, abs=1e-5)
    assert map_distance([a, a], [orthogonal, a]).item() == pytest.approx(1, abs=1e-5)


def test_map_distance_survives_dead_features():
    dead = torch.zeros(1, 2, 3, 3, requires_grad=True)
    map_distance([dead], [torch.ones(1, 2, 3, 3)]).sum().backward()
    assert dead.grad.isfinite().all()


def test_map_distance_refuses_unequal_lists():
    with pytest.raises(ValueError, match="zip"):
        map_distance([torch.ones(1, 2, 3, 3)], [])


def test_embedding_distance_is_one_minus_cosine():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert embedding_distance(a, a * 3).item() == pytest.approx(0, abs=1e-6)
    assert embedding_distance(a, a.flip(1)).item() == pytest.approx(1)
    assert embedding_distance(a, -a).item() == pytest.approx(2)


@pytest.mark.parametrize("loss", [perceptual_loss, identity_loss])
def test_only_the_prediction_gets_a_gradient(loss):
    torch.manual_seed(0)
    prediction = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss(Judge(), prediction, target).backward()
    assert prediction.grad.any()
    assert target.grad is None
