"""The tables measure what they say, on small untrained models."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rs_runtime.contracts.manifest import Reconstruction
from rs_runtime.contracts.tokens import TokenSet
from rs_train.domains.codes import Codes, invert
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters import StyleTransformer, StyleTransformerConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables.claims import Claim
from rs_train.tables.domains import (
    CEILING,
    PERFECT,
    SOURCE,
    domain_table,
    domains_markdown,
    restyle,
)
from rs_train.tables.heldout import HeldOut, render_held_out
from rs_train.tables.inversion import (
    InversionRow,
    inversion_markdown,
    inversion_table,
    reconstruction_record,
    synthesize,
)
from rs_train.tables.measure import measure, quantised
from rs_train.tables.page import Result, write_result

COUNT = 5


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(16, 16, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    generator = Generator(config)
    generator.update_latent_avg(samples=100)
    return generator.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network() -> MetricNetwork:
    torch.manual_seed(0)
    config = MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
    return MetricNetwork(config).eval().requires_grad_(False)


@pytest.fixture
def codes(generator: Generator) -> Codes:
    torch.manual_seed(1)
    table = generator.table
    w_plus = generator.broadcast(generator.mapping(torch.randn(COUNT, 16))).clone()
    tokens = (0.1 * torch.randn(COUNT, 2, n) for n in (table.sum_out, table.sum_in))
    return Codes(w_plus, *tokens)


def domain(generator: Generator, strength: float) -> TokenSet:
    rng = np.random.default_rng(0)
    table = generator.table
    return TokenSet(
        kind="domain",
        name="test",
        P={c.name: strength * rng.normal(size=(2, c.out_channels)) for c in table.convs},
        Q={c.name: rng.normal(size=(2, c.in_channels)) for c in table.convs},
        style_offset={},
        modulation={},
        w_plus=None,
        source="",
        licence="",
        fingerprint=generator.fingerprint(),
        table_hash=table.hash,
    )


def test_pictures_against_themselves(network: MetricNetwork) -> None:
    image = quantised(torch.randn(COUNT, 3, 32, 32))
    background = torch.ones(COUNT, 1, 32, 32)
    same = measure(network, image, image, image, background)
    assert (same.count, same.mse, same.feature_distance, same.background) == (COUNT, 0, 0, 0)
    assert same.identity == pytest.approx(1, abs=1e-5)
    assert same.frechet == pytest.approx(0, abs=1e-6)
    other = measure(network, -image, image, image, background)
    assert other.mse == pytest.approx(4 * image.square().mean().item(), rel=1e-4)
    assert other.mse_p99 >= other.mse_p50 > 0
    assert other.feature_distance > 0.01
    row = InversionRow("in domain", "two-stage", other, 1.0)
    limits = Reconstruction(**reconstruction_record(row, "noise"))
    assert limits.mse_p99 == pytest.approx(other.mse_p99, abs=1e-6)
    assert (limits.pictures, limits.knows) == (COUNT, "noise")


def test_inversion_rows_refer_to_the_first_model(
    generator: Generator, network: MetricNetwork, codes: Codes
) -> None:
    config = StyleTransformerConfig(
        image_size=32, num_ws=generator.num_ws, z_dim=16, w_dim=16, channels=(4, 8, 8, 16), heads=2
    )
    torch.manual_seed(2)
    base = StyleTransformer(config).eval()
    base.bake(generator.mapping)

    class PerfectRefiner(torch.nn.Module):
        """Knows the portraits' tokens; the base is replaced by one that knows their w_plus."""

        config = base.config

        def forward(self, image: torch.Tensor, first: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return codes.P, codes.Q

    class PerfectBase(torch.nn.Module):
        config = base.config

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return codes.w_plus

    photos = HeldOut(synthesize(generator, codes), torch.ones(COUNT, 1, 32, 32))
    models = {"base": (base, None), "perfect": (PerfectBase(), PerfectRefiner())}
    rows = inversion_table(generator, models, {"all": photos}, network)
    assert [(row.pictures, row.model) for row in rows] == [("all", "base"), ("all", "perfect")]
    assert rows[0].mse_ratio == 1
    assert rows[0].measured.mse > 0
    assert rows[1].mse_ratio == 0
    assert rows[1].measured.identity == pytest.approx(1, abs=1e-5)
    assert "| all | perfect | 5 | 0.0000 | 0.00 |" in inversion_markdown(rows)
    assert invert(photos.image, generator, base, None).P.shape[1] == 0


def test_domain_rows_span_source_and_ceiling(
    generator: Generator, network: MetricNetwork, codes: Codes
) -> None:
    background = torch.ones(COUNT, 1, 32, 32)
    photos = HeldOut(synthesize(generator, codes), background)
    # the truth lies beyond the ceiling, ours before it
    truth = HeldOut(restyle(generator, codes, domain(generator, 0.3)), background)
    ways = {"ours": domain(generator, 0.1), CEILING: domain(generator, 0.25)}
    rows = domain_table("test", generator, codes, photos, truth, ways, network)
    by_model = {row.model: row for row in rows}
    assert by_model[SOURCE].feature_span == 0
    assert by_model[CEILING].feature_span == 1
    assert 0.1 < by_model["ours"].feature_span < 0.9
    assert by_model[PERFECT].measured.feature_distance == 0
    assert by_model[PERFECT].feature_span > 1
    assert by_model[SOURCE].measured.identity == pytest.approx(1, abs=1e-5)
    assert domains_markdown(rows).count("\n") == 2 + 4


def test_held_out_scenes_pair_up_and_are_reused(tmp_path: Path) -> None:
    options = {"extras": False, "count": 2, "seed": 9, "size": 32, "workers": 1}
    photo = render_held_out(tmp_path, domain="photo", **options)
    sketch = render_held_out(tmp_path, domain="sketch", **options)
    assert photo.image.shape == (2, 3, 32, 32)
    assert torch.equal(photo.background, sketch.background)
    assert 0.1 < photo.background.mean() < 0.9
    assert (photo.image - sketch.image).abs().mean() > 0.1
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    render_held_out(tmp_path, domain="photo", **options)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_pages(network: MetricNetwork, tmp_path: Path) -> None:
    image = quantised(torch.randn(2, 3, 32, 32))
    row = measure(network, image, image, image, torch.ones(2, 1, 32, 32))
    rows = [replace(row, count=7)]
    claims = [Claim("it is small", 0.5, "<=", 0.25), Claim("it is large", 0.5, ">=", 0.25)]
    result = Result(
        title="Title",
        about="About.",
        rows=rows,
        table="| x |\n",
        claims=claims,
        pictures={"grid": np.zeros((4, 6, 3), np.uint8)},
    )
    paths = write_result(tmp_path / "new", "name", result)
    data = json.loads(paths[0].read_text())
    assert data["rows"][0]["count"] == 7
    assert [claim["holds"] for claim in data["claims"]] == [False, True]
    assert "command" in data["record"]
    page = paths[1].read_text()
    assert page.startswith("# Title\n\nAbout.\n\n| x |\n")
    assert "| it is small | 0.5 ≤ 0.25 | **no** |" in page
    assert "![grid](name-grid.png)" in page
    assert Image.open(paths[2]).size == (6, 4)
