"""Fits of an encoder's styles, worked out; and what dividing by them does to kernels."""

import numpy as np
import pytest
import torch

from rs_runtime.contracts.tokens import TokenSet
from rs_train.domains.calibration import draw_and_encode, fit, std_ratios, styles_of
from rs_train.generator import Generator, GeneratorConfig
from rs_train.tables.calibration import (
    AS_IS,
    BY_ALPHA,
    BY_SLOPE,
    TruthRow,
    adaptability,
    calibration_markdown,
    layer_rows,
)
from rs_train.tables.calibration_plots import draw_ratios, draw_styles


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(8, 8, 6), z_dim=8, w_dim=8, mapping_layers=2)
    return Generator(config).eval().requires_grad_(False)


def domain_of(generator: Generator, layers: tuple[str, ...] | None = None) -> TokenSet:
    rng = np.random.default_rng(3)
    convs = [c for c in generator.table.convs if layers is None or c.name in layers]
    return TokenSet(
        kind="domain",
        name="random",
        P={c.name: rng.standard_normal((2, c.out_channels)) * 0.2 for c in convs},
        Q={c.name: rng.standard_normal((2, c.in_channels)) * 0.2 for c in convs},
        style_offset={c.name: rng.standard_normal(c.in_channels) * 0.3 for c in convs},
        modulation={},
        w_plus=None,
        source="a test",
        licence="CC0-1.0",
        fingerprint=generator.fingerprint(),
        table_hash=generator.table.hash,
    )


def test_the_fit_is_least_squares() -> None:
    rng = torch.Generator().manual_seed(1)
    mapped = 1 + 0.3 * torch.randn(500, 6, generator=rng)
    deviations = mapped - mapped.mean(dim=0)
    noise = torch.randn(500, 6, generator=rng)
    found = mapped.mean(dim=0) + 0.5 * deviations + 0.1 * noise
    own = fit(mapped, found)
    x, y = found.double().numpy().ravel(), mapped.double().numpy().ravel()
    assert own.alpha == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], rel=1e-9)
    assert own.slope == pytest.approx(0.5, abs=0.02)
    centred = (found - found.mean(dim=0)).double().numpy().ravel()
    expected = np.corrcoef(deviations.double().numpy().ravel(), centred)[0, 1]
    assert own.correlation == pytest.approx(expected, abs=1e-3)
    scaled = fit(mapped, 2 * mapped)
    assert (scaled.alpha, scaled.slope) == pytest.approx((0.5, 2.0))
    torch.testing.assert_close(std_ratios(mapped, 2 * mapped), torch.full((6,), 2.0))


def test_heads_are_drawn_and_encoded_as_asked(generator: Generator) -> None:
    seen = []

    def encode(image: torch.Tensor) -> torch.Tensor:
        levels = (image + 1) * 127.5
        torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
        seen.append(len(image))
        return torch.zeros(len(image), generator.num_ws, 8)

    pair = draw_and_encode(generator, encode, count=20, seed=4)
    assert sum(seen) == 20 and pair.mapped.shape == pair.found.shape == (20, generator.num_ws, 8)
    z = torch.randn(20, 8, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(pair.mapped[:, 0], generator.mapping(z))
    styles = styles_of(generator, pair.found)
    assert set(styles) == set(generator.table.by_name)
    bias = generator.synthesis.layers["b8_conv0"].affine.bias
    torch.testing.assert_close(styles["b8.conv0"], bias.expand(20, -1))


def test_dividing_by_alpha_undoes_a_scale_of_the_styles(generator: Generator) -> None:
    rng = torch.Generator().manual_seed(2)
    mapped = {
        layer.name: 1 + 0.3 * torch.randn(10, layer.in_channels, generator=rng)
        for layer in generator.table.layers
    }
    found = {name: value / 1.6 for name, value in mapped.items()}
    domains = [domain_of(generator)]
    for layer in generator.table.convs:
        alpha = fit(mapped[layer.name], found[layer.name]).alpha
        assert alpha == pytest.approx(1.6)
        same = adaptability(generator, mapped, mapped, domains, layer.name, 1.0)
        divided = adaptability(generator, mapped, found, domains, layer.name, alpha)
        as_is = adaptability(generator, mapped, found, domains, layer.name, 1.0)
        assert same == 1 and divided == pytest.approx(1, abs=1e-5) and as_is < 0.95


def test_the_measure_is_zero_without_a_domain_and_none_without_an_action(
    generator: Generator,
) -> None:
    rng = torch.Generator().manual_seed(2)
    mapped = {
        layer.name: 1 + 0.3 * torch.randn(6, layer.in_channels, generator=rng)
        for layer in generator.table.layers
    }
    domains = [domain_of(generator, ("b8.conv1",))]
    nothing = adaptability(generator, mapped, mapped, domains, "b8.conv1", 1e9)
    assert nothing == pytest.approx(0, abs=1e-5)
    assert adaptability(generator, mapped, mapped, domains, "b8.conv0", 1.0) is None


def test_the_report_has_every_layer_and_picture(generator: Generator) -> None:
    pair = draw_and_encode(
        generator, lambda image: torch.randn(len(image), generator.num_ws, 8), count=12, seed=1
    )
    rows = layer_rows("other", generator, pair, [domain_of(generator)])
    assert [row.layer for row in rows] == [layer.name for layer in generator.table.layers]
    assert set(rows[0].adaptability) == {AS_IS, BY_ALPHA, BY_SLOPE}
    torgbs = [row for row in rows if row.layer.endswith("torgb")]
    assert all(row.adaptability[AS_IS] is None for row in torgbs)
    distance = {AS_IS: 0.5, BY_ALPHA: 0.25, BY_SLOPE: 1.0}
    page = calibration_markdown(
        rows, [TruthRow(encoder="other", domain="sketch", distance=distance)]
    )
    assert "| other | sketch | 0.5000 | 0.2500 | 1.0000 |" in page
    for figure in (
        draw_styles(generator, {"other": pair}),
        draw_ratios(generator, {"other": pair}),
    ):
        assert figure.axes
