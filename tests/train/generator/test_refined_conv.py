"""Every form of the refined convolution against the NumPy oracle."""

import itertools

import numpy as np
import pytest
import torch

from rs_runtime.reference import refined_layer
from rs_train.generator import FORMS, refined_conv
from rs_train.generator.refined_conv import demodulation

CASES = list(itertools.product((1, 2, 3, 4), (1, 3), (1, 2)))


def make_inputs(batch, kernel, rank=3, seed=0, cin=6, cout=5):
    rng = np.random.default_rng((seed, batch, kernel, rank))
    inputs = {
        "x": rng.normal(size=(batch, cin, 6, 4)),
        "weight": rng.normal(size=(cout, cin, kernel, kernel)) / np.sqrt(cin * kernel**2),
        "style": rng.normal(size=(batch, cin)) + 1,
        "P": rng.normal(size=(batch, rank, cout)) * 0.3,
        "Q": rng.normal(size=(batch, rank, cin)) * 0.3,
        "style_offset": rng.normal(size=(batch, cin)) * 0.2,
        "modulation": 1 + rng.normal(size=(batch, cin)) * 0.2,
    }
    return inputs


def relative_error(found, truth):
    return np.abs(found - truth).max() / np.abs(truth).max()


def run(inputs, **options):
    tensors = {k: torch.from_numpy(v).float() for k, v in inputs.items()}
    return refined_conv(**tensors, **options).numpy()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("batch", "kernel", "up"), CASES)
@pytest.mark.parametrize("demodulate", [True, False])
def test_forms_agree_with_the_oracle(form, batch, kernel, up, demodulate):
    inputs = make_inputs(batch, kernel)
    truth = refined_layer(**inputs, up=up, demodulate=demodulate, activate=False)
    found = run(inputs, up=up, demodulate=demodulate, form=form)
    assert found.shape == (batch, 5, 6 * up, 4 * up)
    assert relative_error(found, truth) < 1e-5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("absent", ["residual", "style_offset", "modulation", "all"])
def test_absent_parts_are_the_defaults(form, absent):
    inputs = make_inputs(2, 3)
    dropped = {"residual": ("P", "Q"), "all": ("P", "Q", "style_offset", "modulation")}
    for name in dropped.get(absent, (absent,)):
        del inputs[name]
    truth = refined_layer(**inputs, activate=False)
    assert relative_error(run(inputs, form=form), truth) < 1e-5


def test_demodulation_equals_the_norm_of_the_kernels():
    inputs = {k: torch.from_numpy(v) for k, v in make_inputs(3, 3).items()}
    dW = torch.einsum("nlo,nli->noi", inputs["P"], inputs["Q"])
    kernels = inputs["weight"] * inputs["style"][:, None, :, None, None] + dW[..., None, None]
    truth = (kernels.square().sum(dim=(2, 3, 4)) + 1e-8).rsqrt()
    found = demodulation(inputs["weight"], inputs["style"], dW).double()
    assert ((found - truth).abs() / truth).max() < 1e-5


def test_demodulation_survives_a_kernel_that_cancels_out():
    weight, style = torch.ones(1, 4, 1, 1), torch.ones(1, 4)
    d = demodulation(weight, style, -torch.ones(1, 1, 4))
    assert torch.isfinite(d).all()
    assert d.item() == pytest.approx(1e4, rel=1e-3)


def test_forms_have_the_same_gradients():
    inputs = {k: torch.from_numpy(v).requires_grad_() for k, v in make_inputs(2, 3).items()}
    gradients = []
    for form in FORMS:
        loss = refined_conv(**inputs, up=2, form=form).sin().sum()
        gradients.append(torch.autograd.grad(loss, list(inputs.values())))
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            assert relative_error(b.numpy(), a.numpy()) < 1e-5


def test_bad_arguments_are_refused():
    inputs = make_inputs(1, 3)
    with pytest.raises(ValueError, match="form"):
        run(inputs, form="grouped")
    with pytest.raises(ValueError, match="up 3"):
        run(inputs, up=3)
    del inputs["P"]
    with pytest.raises(ValueError, match="P given: False"):
        run(inputs)
