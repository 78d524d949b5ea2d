"""Losses of the ways that know one picture, against loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rs_train.losses.relaxed_transport import relaxed_transport
from rs_train.losses.selective_consistency import SelectiveConsistency
from rs_train.losses.within import within_loss


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        sum(x * y for x, y in zip(a, b, strict=True)) / np.linalg.norm(a) / np.linalg.norm(b)
    )


def test_within_equals_a_loop_over_heads() -> None:
    torch.manual_seed(0)
    source, target = (F.normalize(torch.randn(3, 5), dim=1) for _ in range(2))
    inverted, reference = (F.normalize(torch.randn(1, 5), dim=1) for _ in range(2))
    costs = [
        1 - cosine(after - reference[0].numpy(), before - inverted[0].numpy())
        for after, before in zip(target.numpy(), source.numpy(), strict=True)
    ]
    found = within_loss(source, target, inverted, reference)
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-5)
    moved_alike = source - inverted + reference
    assert within_loss(source, moved_alike, inverted, reference).item() == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("pictures", [1, 3])
def test_relaxed_transport_equals_loops(pictures: int) -> None:
    torch.manual_seed(0)
    tokens, wanted = torch.randn(3, 4, 6), torch.randn(pictures, 5, 6)
    costs = []
    for i, a in enumerate(tokens.numpy()):
        b = wanted[i % pictures].numpy()
        there = np.mean([min(1 - cosine(u, v) for v in b) for u in a])
        back = np.mean([min(1 - cosine(u, v) for u in a) for v in b])
        costs.append(max(there, back))
    assert relaxed_transport(tokens, wanted).item() == pytest.approx(np.mean(costs), rel=1e-5)


def test_relaxed_transport_sees_what_is_missing_and_not_where_things_are() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(1, 6, 8)
    assert relaxed_transport(wanted.flip(1) * 3, wanted).item() == pytest.approx(0, abs=1e-6)
    one_for_all = wanted[:, :1].expand(-1, 6, -1)  # each is near a wanted one, most are not met
    assert relaxed_transport(one_for_all, wanted).item() > 0.3


def test_consistency_equals_a_loop_over_channels_and_steps() -> None:
    rng = np.random.default_rng(0)
    loss, past = SelectiveConsistency(10, window=3, share=0.6), []
    for _ in range(5):
        source, target = rng.normal(size=(2, 2, 5)), rng.normal(size=(2, 2, 5))
        past.append([(target - source).reshape(2, 10)[:, c].mean() for c in range(10)])
        change = [abs(np.mean([step[c] for step in past[-3:]])) for c in range(10)]
        held = sorted(range(10), key=lambda c: change[c])[:6]
        differences = np.abs(target - source).reshape(2, 10)
        expected = sum(differences[n, c] for n in range(2) for c in held) / 20
        found = loss(torch.from_numpy(source), torch.from_numpy(target))
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_consistency_holds_what_the_domain_leaves_alone_and_lets_the_rest_change() -> None:
    loss = SelectiveConsistency(10, window=4, share=0.6)
    source = torch.zeros(2, 10)
    domain = torch.tensor([5.0] * 4 + [0.0] * 6)
    target = (source + domain).requires_grad_()
    assert loss(source, target).item() == 0
    shaken = torch.cat([domain[:4] + 1, domain[4:] + 1]).repeat(2, 1).requires_grad_()
    loss(source, shaken).backward()
    assert not shaken.grad[:, :4].any() and (shaken.grad[:, 4:] > 0).all()


def test_consistency_grows_once_its_window_is_full_and_is_resumed() -> None:
    loss, ramps = SelectiveConsistency(2, window=2), []
    for _ in range(4):
        loss(torch.zeros(1, 2), torch.ones(1, 2))
        ramps.append(loss.ramp(steps=4))
    assert ramps == [0, 0, 0.5, 1]
    resumed = SelectiveConsistency(2, window=2)
    resumed.load_state_dict(loss.state_dict())
    assert resumed.ramp(steps=4) == 1
