"""The oracle itself, judged by hand-worked cases, plain loops and the identities it must obey."""

import itertools
import math

import numpy as np
import pytest

from rs_runtime.reference import refined_kernel, refined_layer

EVERY_SHAPE = [(kernel, up, batch) for kernel in (1, 3) for up in (1, 2) for batch in (1, 3)]
BARE = {"demodulate": False, "activate": False}


def parts(kernel: int, batch: int, dtype: type = np.float64) -> dict[str, np.ndarray]:
    """Random inputs of one refined layer with 4 channels in, 5 out, rank 2, on 3 x 4 pixels."""
    rng = np.random.default_rng(kernel * 10 + batch)
    shapes = {
        "x": (batch, 4, 3, 4),
        "weight": (5, 4, kernel, kernel),
        "style": (batch, 4),
        "P": (batch, 2, 5),
        "Q": (batch, 2, 4),
        "style_offset": (batch, 4),
        "modulation": (batch, 4),
    }
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def by_loops(p: dict[str, np.ndarray], up: int, demodulate: bool) -> np.ndarray:
    """The layer without noise, bias and activation, one multiplication at a time."""
    batch, _, height, width = p["x"].shape
    outs, ins, k, _ = p["weight"].shape
    result = np.zeros((batch, outs, up * height, up * width))
    indices = [range(n) for n in (batch, outs, ins, k, k)]
    kernel = np.zeros((batch, outs, ins, k, k))
    for n, o, i, a, b in itertools.product(*indices):
        residual = sum(p["P"][n, rank, o] * p["Q"][n, rank, i] for rank in range(p["P"].shape[1]))
        style = p["style"][n, i] + p["style_offset"][n, i]
        kernel[n, o, i, a, b] = style * p["weight"][o, i, a, b] + residual
    for n, o in itertools.product(range(batch), range(outs)):
        norm = math.sqrt(sum(v * v for v in kernel[n, o].flat) + 1e-8) if demodulate else 1.0
        wide = np.zeros((up * height + 8, up * width + 8))
        for i, y, x, a, b in itertools.product(
            range(ins), range(height), range(width), range(k), range(k)
        ):
            value = p["modulation"][n, i] * p["x"][n, i, y, x] * kernel[n, o, i, a, b] / norm
            # A correlation gathers from y + a - k//2; scattering, the pixel goes to y - a + k//2.
            at = (y - a + k // 2, x - b + k // 2) if up == 1 else (2 * y + a, 2 * x + b)
            wide[at[0] + 4, at[1] + 4] += value
        if up == 2:
            start = 4 - (1 if k == 3 else 2)
            taps = (1, 3, 3, 1)
            blurred = np.zeros_like(wide)
            for y, x, a, b in itertools.product(
                range(2 * height), range(2 * width), range(4), range(4)
            ):
                gain = taps[a] * taps[b] / 64 * 4
                blurred[y + 4, x + 4] += gain * wide[start + y + a, start + x + b]
            wide = blurred
        result[n, o] = wide[4 : 4 + up * height, 4 : 4 + up * width]
    return result


@pytest.mark.parametrize(("kernel", "up", "batch"), EVERY_SHAPE)
@pytest.mark.parametrize("demodulate", [True, False])
def test_against_plain_loops(kernel: int, up: int, batch: int, demodulate: bool) -> None:
    p = parts(kernel, batch)
    y = refined_layer(**p, up=up, demodulate=demodulate, activate=False)
    np.testing.assert_allclose(y, by_loops(p, up, demodulate), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------ by hand


def test_one_pixel_one_channel() -> None:
    one = np.ones((1, 1, 1, 1))
    y = refined_layer(3 * one, 2 * one, np.array([[5.0]]), **BARE)
    assert y.item() == 30
    y = refined_layer(
        3 * one,
        2 * one,
        np.array([[5.0]]),
        P=np.array([[[7.0]]]),
        Q=np.array([[[0.5]]]),
        style_offset=np.array([[-1.0]]),
        modulation=np.array([[10.0]]),
        **BARE,
    )
    assert y.item() == 10 * 3 * ((5 - 1) * 2 + 7 * 0.5)


def test_correlation_is_not_flipped() -> None:
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    y = refined_layer(x, weight, np.ones((1, 1)), **BARE)
    np.testing.assert_array_equal(y[0, 0], weight[0, 0, ::-1, ::-1])


@pytest.mark.parametrize(
    ("tap", "expected"),
    [
        ((1, 1), [[0.5625, 0.5625], [0.5625, 0.5625]]),
        ((0, 0), [[0.5625, 0.1875], [0.1875, 0.0625]]),
        ((2, 0), [[0.1875, 0.0625], [0.5625, 0.1875]]),
    ],
)
def test_up_layer_of_one_pixel(tap: tuple[int, int], expected: list[list[float]]) -> None:
    weight = np.zeros((1, 1, 3, 3))
    weight[(0, 0, *tap)] = 1
    y = refined_layer(np.ones((1, 1, 1, 1)), weight, np.ones((1, 1)), up=2, **BARE)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-15)


@pytest.mark.parametrize("kernel", [1, 3])
def test_up_layer_keeps_a_flat_picture_flat(kernel: int) -> None:
    weight = np.random.default_rng(0).normal(size=(1, 1, kernel, kernel))
    y = refined_layer(np.full((1, 1, 6, 6), 3.0), weight, np.ones((1, 1)), up=2, **BARE)
    assert y.shape == (1, 1, 12, 12)
    if kernel == 3:
        np.testing.assert_allclose(y[0, 0, 2:-2, 2:-2], 3 * weight.sum(), rtol=1e-12)
    else:  # one tap fills a quarter of the pixels, the blur's gain of 4 makes up for it
        np.testing.assert_allclose(y[0, 0, 2:-2, 2:-2], 3 * weight.item(), rtol=1e-12)


def test_noise_bias_and_activation() -> None:
    x, weight, style = np.zeros((2, 1, 1, 2)), np.ones((3, 1, 1, 1)), np.ones((2, 1))
    noise = np.array([[[[1.0, -1.0]]]])
    bias = np.array([0.5, 0.0, -3.0])
    y = refined_layer(x, weight, style, noise=noise, bias=bias)
    before = np.array([[1.5, -0.5], [1.0, -1.0], [-2.0, -4.0]])
    expected = np.where(before < 0, 0.2 * before, before) * math.sqrt(2)
    np.testing.assert_allclose(y, np.stack([expected[:, None]] * 2), rtol=1e-15)
    linear = refined_layer(x, weight, style, noise=noise, bias=bias, activate=False)
    np.testing.assert_array_equal(linear[0, :, 0], before)


# --------------------------------------------------------------------------------- identities


@pytest.mark.parametrize(("kernel", "up", "batch"), EVERY_SHAPE)
def test_box_form(kernel: int, up: int, batch: int) -> None:
    """d * (conv(s * x, W0) + box(P' Q x)), the box with the convolution's own stride."""
    p = parts(kernel, batch)
    style = p["style"] + p["style_offset"]
    x = p["modulation"][:, :, None, None] * p["x"]
    ones = np.ones((batch, 4))
    static = refined_layer(style[:, :, None, None] * x, p["weight"], ones, up=up, **BARE)
    mixed = np.einsum("nlo,nli,nihw->nohw", p["P"], p["Q"], x)
    box = np.eye(5)[:, :, None, None] * np.ones((kernel, kernel))
    residual = refined_layer(mixed, box, np.ones((batch, 5)), up=up, **BARE)
    demodulation = _demodulation(p)
    y = refined_layer(**p, up=up, activate=False)
    expected = demodulation[:, :, None, None] * (static + residual)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)


def _demodulation(p: dict[str, np.ndarray]) -> np.ndarray:
    """d from tap sums of W0 and of its square alone, without building a kernel."""
    style = p["style"] + p["style_offset"]
    residual = np.einsum("nlo,nli->noi", p["P"], p["Q"])
    taps = p["weight"].sum(axis=(2, 3))
    squares = np.square(p["weight"]).sum(axis=(2, 3))
    k = p["weight"].shape[-1]
    energy = np.einsum("ni,oi->no", style**2, squares)
    energy += 2 * np.einsum("ni,noi,oi->no", style, residual, taps)
    energy += k**2 * np.square(residual).sum(axis=2)
    return 1 / np.sqrt(energy + 1e-8)


@pytest.mark.parametrize("kernel", [1, 3])
def test_final_kernel_has_unit_norm(kernel: int) -> None:
    p = parts(kernel, 3)
    x, modulation = p.pop("x"), p.pop("modulation")
    final = refined_kernel(**p)
    np.testing.assert_allclose(np.square(final).sum(axis=(2, 3, 4)), 1, rtol=1e-6)
    np.testing.assert_allclose(
        final,
        refined_kernel(**p, demodulate=False) * _demodulation(p)[:, :, None, None, None],
        rtol=1e-12,
    )
    y = refined_layer(x, modulation=modulation, **p, activate=False)
    # The modulation of the input is outside: it changes the output, never the kernel's norm.
    doubled = refined_layer(x, modulation=2 * modulation, **p, activate=False)
    np.testing.assert_allclose(doubled, 2 * y, rtol=1e-12)


def test_demodulation_of_a_kernel_of_zeros_is_finite() -> None:
    zero = np.zeros((1, 1, 3, 3))
    assert np.all(refined_layer(np.ones((1, 1, 3, 3)), zero, np.ones((1, 1))) == 0)


@pytest.mark.parametrize("up", [1, 2])
def test_defaults_are_the_plain_layer(up: int) -> None:
    p = parts(3, 2)
    plain = refined_layer(p["x"], p["weight"], p["style"], up=up)
    neutral = {
        "P": np.zeros((2, 3, 5)),
        "Q": p["Q"].repeat(2, axis=1)[:, :3],
        "style_offset": np.zeros((2, 4)),
        "modulation": np.ones((2, 4)),
    }
    np.testing.assert_array_equal(
        refined_layer(p["x"], p["weight"], p["style"], up=up, **neutral), plain
    )
    refined = refined_layer(**p, up=up)
    assert np.abs(refined - plain).max() > 0.1


def test_a_plain_layer_does_not_depend_on_the_length_of_the_style() -> None:
    p = parts(3, 2)
    y = refined_layer(p["x"], p["weight"], p["style"])
    longer = refined_layer(p["x"], p["weight"], 7 * p["style"])
    np.testing.assert_allclose(longer, y, rtol=1e-6, atol=1e-7)


def test_ranks_concatenate_and_zero_rows_change_nothing() -> None:
    p, other = parts(3, 2), parts(3, 2)
    extra_p, extra_q = 3 * other["Q"].repeat(2, axis=2)[:, :, :5], other["Q"] - 1
    both = refined_kernel(
        p["weight"],
        p["style"],
        P=np.concatenate([p["P"], extra_p, np.zeros((2, 4, 5))], axis=1),
        Q=np.concatenate([p["Q"], extra_q, np.ones((2, 4, 4))], axis=1),
        demodulate=False,
    )
    single = refined_kernel(p["weight"], p["style"], P=p["P"], Q=p["Q"], demodulate=False)
    added = np.einsum("nlo,nli->noi", extra_p, extra_q)[..., None, None]
    np.testing.assert_allclose(both, single + added, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("up", [1, 2])
def test_samples_do_not_touch_each_other(up: int) -> None:
    p = parts(3, 3)
    whole = refined_layer(**p, up=up)
    for n in range(3):
        alone = {k: v if k == "weight" else v[n : n + 1] for k, v in p.items()}
        np.testing.assert_allclose(refined_layer(**alone, up=up), whole[n : n + 1], rtol=1e-12)


@pytest.mark.parametrize(("kernel", "up", "batch"), EVERY_SHAPE)
def test_float32_stays_float32_and_close(kernel: int, up: int, batch: int) -> None:
    p = parts(kernel, batch, np.float32)
    y = refined_layer(**p, up=up, bias=np.ones(5, np.float32))
    assert y.dtype == np.float32
    exact = refined_layer(
        **{name: array.astype(np.float64) for name, array in p.items()}, up=up, bias=np.ones(5)
    )
    assert exact.dtype == np.float64
    assert np.abs(y - exact).max() < 1e-5 * np.abs(exact).max()
