"""One update: in parts, clipped, at a rate that a step sets."""

import pytest
import torch

from rs_train.capture import CapturedStep, numbers
from rs_train.optimizers import adam, minimise, set_rate


def line(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 1)


def loss_of(model, x):
    return (model(x) - x.sum(1, keepdim=True)).square().mean()


def test_a_batch_in_parts_is_the_same_update():
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    whole, parts = line(), line()
    minimise(adam(whole.parameters(), 0.1, (0.9, 0.99)), [loss_of(whole, x)])
    halves = (loss_of(parts, half) / 2 for half in x.chunk(2))
    minimise(adam(parts.parameters(), 0.1, (0.9, 0.99)), halves)
    torch.testing.assert_close(parts.weight, whole.weight)


def test_the_whole_gradient_is_clipped():
    model = line()
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    minimise(optimizer, [1000 * loss_of(model, torch.ones(2, 3))], clip_norm=0.5)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_the_rate_reaches_every_group():
    model = line()
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 1.0}]
    optimizer = torch.optim.SGD(groups, 0.1)
    set_rate(optimizer, 0.0)
    before = model.weight.clone()
    minimise(optimizer, [loss_of(model, torch.ones(2, 3))])
    torch.testing.assert_close(model.weight, before)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_captured_step_trains_as_an_ordinary_one(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    models = [line().to(device) for _ in range(2)]
    optimizers = [adam(model.parameters(), 0.1, (0.9, 0.99)) for model in models]

    def step(model, optimizer):
        def update(sign, *, x):
            loss = loss_of(model, sign * x)
            minimise(optimizer, [loss])
            return {"loss": loss}

        return update

    captured = CapturedStep(step(models[0], optimizers[0]), torch.device(device))
    ordinary = step(models[1], optimizers[1])
    for number in range(16):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number)).to(device)
        for optimizer in optimizers:
            set_rate(optimizer, 0.1 / (1 + number))
        sign = 1 if number % 2 else -1
        found, expected = numbers(captured(sign, x=x)), numbers(ordinary(sign, x=x))
        assert found == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(models[0].weight, models[1].weight)
