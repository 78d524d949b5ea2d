"""What lies between embeddings, against what the definitions say."""

import pytest
import torch
import torch.nn.functional as F

from rs_train.domains.embeddings import DomainEmbeddings, draw_mixtures, mixed, resampled


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_mixture_weights_are_those_of_a_sparse_dirichlet() -> None:
    torch.manual_seed(0)
    weights = draw_mixtures(20_000, 8)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(20_000))
    assert weights.min() >= 0
    torch.testing.assert_close(weights.mean(dim=0), torch.full((8,), 1 / 8), atol=0.01, rtol=0)
    # A Dirichlet of concentrations a with sum A has variance m (1 - m) / (A + 1), here A = 2.
    variance = torch.full((8,), 1 / 8 * 7 / 8 / 3)
    torch.testing.assert_close(weights.var(dim=0), variance, atol=0.003, rtol=0)


def test_mixtures_lie_on_the_sphere_and_reach_their_corners() -> None:
    vectors = unit(4, 3, 7)  # in three templates
    weights = torch.cat([torch.eye(4), draw_mixtures(5, 4)])
    found = mixed(vectors, weights)
    torch.testing.assert_close(found[:4], vectors)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(9, 3))
    slow = sum(w * v for w, v in zip(weights[6], vectors, strict=True))
    torch.testing.assert_close(found[6], F.normalize(slow, dim=-1))


def test_resampled_vectors_have_cosines_uniform_from_the_least() -> None:
    torch.manual_seed(0)
    vectors = unit(1, 16).expand(20_000, -1)
    found = resampled(vectors, 0.95)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20_000))
    cosines = (found * vectors).sum(dim=1)
    assert cosines.min() > 0.95 - 1e-6
    assert cosines.max() < 1 + 1e-6
    assert cosines.mean().item() == pytest.approx(0.975, abs=0.001)
    assert cosines.var().item() == pytest.approx(0.05**2 / 12, rel=0.05)


def test_a_draw_is_of_the_domain_and_of_the_wanted_kind() -> None:
    torch.manual_seed(0)
    texts = [unit(3, 4, seed=1), unit(2, 4, seed=2)]
    pictures = unit(2, 5, 4, seed=3)
    known = DomainEmbeddings(texts, unit(2, 1, 4), unit(1, 4), pictures)

    def is_among(row: torch.Tensor, rows: torch.Tensor) -> bool:
        return bool((rows == row).all(dim=1).any())

    domains = torch.tensor([0, 1] * 200)
    drawn = known.draw(domains, picture_share=0.25)
    shown = 0
    for row, domain in zip(drawn, domains.tolist(), strict=True):
        is_picture = is_among(row, pictures[domain])
        assert is_picture or is_among(row, texts[domain])
        shown += is_picture
    assert 60 < shown < 140
