"""The forms that benchmarks compare ours with compute the same layer."""

import numpy as np
import onnxruntime
import pytest

from benchmarks.cpu_forms import naive, plain_constant, plain_materialised
from benchmarks.rounds import fastest, ratio
from rs_export.forms import Form, expand
from rs_export.portable import finish
from rs_runtime.reference import refined_layer
from tests.export.test_forms import CIN, COUT, one_layer, random_inputs


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("form", [naive, plain_constant, plain_materialised])
def test_peers_compute_the_same_layer(form: Form, up: int) -> None:
    weight = np.random.default_rng(1).standard_normal((COUT, CIN, 3, 3), np.float32)
    model = finish(expand(one_layer(weight, up), form), "layer")
    inputs = random_inputs(1, 4, CIN, COUT)
    if form is not naive:
        inputs["P"][:] = 0
    exact = {name: value.astype(np.float64) for name, value in inputs.items()}
    x, style = exact.pop("x"), exact.pop("style")
    expected = refined_layer(x, weight.astype(np.float64), style, **exact, up=up, activate=False)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_ratios_are_taken_round_by_round() -> None:
    seconds = {"slow": [2.0, 20.0, 4.0], "fast": [1.0, 10.0, 1.0]}
    assert ratio(seconds, "slow", "fast") == 2.0
    assert ratio(seconds, "slow", "absent") is None
    assert fastest(seconds, ["slow", "fast", "absent"]) == "fast"
    assert fastest(seconds, ["absent"]) is None
