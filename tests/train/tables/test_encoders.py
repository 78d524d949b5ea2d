"""Tables of encoders in domains, on small untrained models and real renders."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rs_runtime.contracts.tokens import TokenSet, write_token_set
from rs_train.checkpoint import load_model, save_model
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters.build import Network, build
from rs_train.metrics.distances import mean_pairwise_distance
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables import encoders_pages as pages
from rs_train.tables.encoders import (
    E4E,
    ENCODERS,
    MAPPED,
    OURS,
    REPLACED,
    SHIFTED,
    STYLES,
    TRUTH,
    Encoders,
    domain_rows,
    part_errors,
)
from rs_train.tables.heldout import HeldOut
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.paper import TABLES, needed

COUNT = 4
WAY = ("sketch", "text", "models/domains/sketch.tokens")


def domain(generator: Generator) -> TokenSet:
    rng = np.random.default_rng(0)
    convs = generator.table.convs
    return TokenSet(
        kind="domain",
        name="sketch",
        P={conv.name: 0.3 * rng.normal(size=(2, conv.out_channels)) for conv in convs},
        Q={conv.name: 0.3 * rng.normal(size=(2, conv.in_channels)) for conv in convs},
        style_offset={},
        modulation={},
        w_plus=None,
        source="",
        licence="",
        fingerprint=generator.fingerprint(),
        table_hash=generator.table.hash,
    )


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    work: Path = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    shape = GeneratorConfig(channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    generator = Generator(shape)
    network = Network(image_size=32, channels=(4, 8, 8, 16), layer=1, gated=True, hidden=12)
    metric = MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
    models = {
        "generator": generator,
        "metric": MetricNetwork(metric),
        "clip": Clip(ClipConfig(image_size=32, embed_dim=6, vision_width=8, text_width=8)),
        "tables/e4e": build("e4e", network, shape),
        "feature_encoder": build("feature_style", network, shape),
        "feature_shift": build("feature_shift", network, shape),
    }
    for name, model in models.items():
        path = work / f"models/{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(path, model)
    (work / "models/domains").mkdir()
    write_token_set(work / WAY[2], domain(load_model(work / "models/generator.safetensors")))
    return Laboratory(work, COUNT, 9001, 1)


def test_ways_differ_only_where_they_should(laboratory):
    encoders = Encoders(laboratory)
    photos = laboratory.held_out().image
    tokens = domain(laboratory.generator)
    plain = {name: encoders.pictures(name, photos) for name in (MAPPED, *ENCODERS)}
    assert torch.equal(plain[REPLACED], plain[SHIFTED])
    assert torch.equal(plain[REPLACED], plain[OURS])  # untrained, its editor adds nothing
    assert len({image.sum().item() for image in plain.values()}) == 4
    restyled = {name: encoders.pictures(name, photos, tokens) for name in (MAPPED, *ENCODERS)}
    assert torch.equal(restyled[OURS], restyled[SHIFTED])
    assert len({image.sum().item() for image in restyled.values()}) == 5
    for name, image in restyled.items():
        assert not torch.equal(image, plain[name])
        assert torch.equal(image, encoders.pictures(name, photos, tokens))  # seeded


def test_rows_of_a_domain(laboratory):
    rows = domain_rows(laboratory, Encoders(laboratory), WAY)
    by_name = {row.latents: row for row in rows}
    assert list(by_name) == [MAPPED, *ENCODERS, TRUTH]
    assert by_name[TRUTH].measured.mse == 0
    assert set(by_name[TRUTH].parts.values()) == {0}
    assert by_name[E4E].parts["eyes"] > 0
    assert 0 <= by_name[STYLES].diversity < 2


def test_parts_are_judged_by_their_own_pixels_and_only_where_there_are_some():
    image = torch.zeros(2, 3, 4, 4)
    half = torch.zeros(2, 1, 4, 4)
    half[:, :, :2] = 1
    bald = half.clone()
    bald[1] = 0
    truth = HeldOut(image, 1 - half, {"hair": bald, "eyes": half})
    other = image.clone()
    other[0, :, :2], other[1, :, :2] = 0.5, 1
    errors = part_errors(other, truth)
    assert errors == pytest.approx({"background": 0, "hair": 0.25, "eyes": (0.25 + 1) / 2})


def test_diversity_is_the_mean_over_pairs():
    vectors = torch.tensor([[1.0, 0], [0, 2.0], [-3.0, 0]])
    assert mean_pairwise_distance(vectors).item() == pytest.approx((1 + 1 + 2) / 3)


def test_the_line_is_judged_at_the_same_reconstruction():
    first, second = pages.Place(0.1, 0.5, 1.0, 10), pages.Place(0.3, 0.5, 0.6, 6)
    between = pages.Place(0.2, 0.4, 0.7, 9)
    assert pages.below_line(between, first, second, "truth") == pytest.approx((0.7, 0.8))
    assert pages.below_line(between, first, second, "text") == pytest.approx((0.4, 0.5))
    assert pages.below_line(between, first, second, "frechet") == pytest.approx((9, 8))


def test_pages_hold_tables_claims_and_pictures(laboratory, monkeypatch):
    monkeypatch.setattr(pages, "_SHOWN", (0, 2))
    monkeypatch.setattr(pages, "TEXT_GUIDED", (WAY,))
    monkeypatch.setattr(pages, "PICTURE_GUIDED", ())
    quality = pages.quality(laboratory, (WAY,), "text")
    assert quality.table.count("\n") == 2 + len(quality.rows) and len(quality.rows) == 7
    assert f"| sketch | text | {OURS} |" in quality.table
    assert quality.pictures["sketch-text"].dtype == np.uint8
    page = pages.reconstruction(laboratory)
    assert [row.latents for row in page.rows] == 2 * [E4E, STYLES, REPLACED, OURS]
    assert {claim.statement.split(" lies")[0] for claim in page.claims} == {SHIFTED, OURS}
    assert set(page.pictures) == {"plane", "portraits"}


def test_every_encoder_table_plans_its_trainings():
    for name in ("encoders1", "encoders2", "encoders3"):
        plan = [stage.name for stage in needed(TABLES[name])]
        assert plan.index("base_inverter") < plan.index("feature_encoder")
        assert plan.index("feature_encoder") < plan.index("feature_shift")
        assert plan.index("text-only oil") < plan.index("feature_shift")
