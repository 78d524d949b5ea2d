"""HyperDomainNet's first table: rows of a tiny world are measured, claims are checked."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from rs_train.domains.codes import Codes
from rs_train.domains.description import DomainDescription
from rs_train.generator import Generator, GeneratorConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables import hyperdomainnet1
from rs_train.tables.heldout import HeldOut
from rs_train.tables.hyperdomainnet1 import ANCHORED, TEXT, TRAINED, Row, Trained
from rs_train.tasks.domain import new_change
from rs_train.tasks.domain_config import DomainTraining

DOMAINS = ("sketch", "cartoon")


class Clip(torch.nn.Module):
    """A space of mean colours, in which every prompt is grey."""

    def embed_image(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(image.mean(dim=(2, 3)) + 2, dim=1)

    def embed_prompt(self, prompt: str) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.ones(2, 3), dim=1)


class Laboratory:
    """A work folder of a generator of 32 x 32, with rows that were never trained."""

    def __init__(self, work: Path) -> None:
        torch.manual_seed(0)
        shape = GeneratorConfig(channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
        self.work, self.generator = work, Generator(shape).eval().requires_grad_(False)
        config = MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
        self.metric = MetricNetwork(config).eval()

    def model(self, name: str) -> torch.nn.Module | None:
        return Clip() if name == "clip" else None

    def held_out(self, domain: str = "photo") -> HeldOut:
        torch.manual_seed(len(domain))
        return HeldOut(torch.rand(24, 3, 32, 32) * 2 - 1, torch.ones(24, 1, 32, 32))


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    own = Laboratory(tmp_path)
    table, generator = own.generator.table, own.generator
    w_plus = generator.broadcast(generator.mapping(torch.randn(24, 16)))
    codes = Codes(w_plus, torch.zeros(24, 0, table.sum_out), torch.zeros(24, 0, table.sum_in))
    monkeypatch.setattr(hyperdomainnet1, "invert", lambda *_: codes)
    real, small = hyperdomainnet1.new_change, {"offset_block": 16}
    monkeypatch.setattr(
        hyperdomainnet1, "new_change", lambda g, training: real(g, replace(training, **small))
    )
    about = DomainDescription(name="none", source="a test")
    (tmp_path / "models/tables").mkdir(parents=True)
    for row in TRAINED:
        training = DomainTraining(parameterisation=row.family, rank=2, offset_block=16)
        change = new_change(generator, training)
        for domain in DOMAINS:
            change.write(tmp_path / row.result(domain), generator, about, {"licence": "CC0-1.0"})
    return own


def test_every_row_is_measured_and_the_truth_is_perfect(laboratory: Laboratory) -> None:
    result = hyperdomainnet1.make(laboratory)
    assert len(result.rows) == len(DOMAINS) * (len(TRAINED) + 2)
    truth = [row for row in result.rows if row.family == "true render"]
    for row in truth:
        assert (row.precision, row.recall, row.measured.mse) == (1, 1, 0)
        assert row.measured.frechet == pytest.approx(0, abs=1e-6)
    few, full = (
        next(row for row in result.rows if row.family == family).trained
        for family in ("domain_modulation", "full")
    )
    assert few == laboratory.generator.table.sum_in < full
    assert set(result.pictures) == set(DOMAINS)
    assert result.table.count("\n| sketch") == len(TRAINED) + 2


def row(guide: str, family: str, angle: bool, frechet: float, diversity: float) -> Row:
    measured = hyperdomainnet1.Measured(
        **dict.fromkeys(hyperdomainnet1.Measured.__dataclass_fields__, 0.0) | {"frechet": frechet}
    )
    key = {"guide": guide, "family": family, "angle": angle, "trained": 1, "measured": measured}
    return Row(domain="", precision=0, recall=0, text=0.5, diversity=diversity, **key)


def test_claims_say_what_came_out() -> None:
    rows = []
    for domain in DOMAINS:
        for trained in TRAINED:
            better = 1.04 if domain == "sketch" else 2.0
            frechet = 10 * (better if trained.family == "domain_modulation" else 1)
            diversity = 0.3 + (0.1 if trained.angle and trained.guide == TEXT else 0)
            diversity -= 0.1 if trained.angle and trained.guide == ANCHORED else 0
            rows.append(replace(row(*trained, frechet, diversity), domain=domain))
    claims = {claim.statement: claim for claim in hyperdomainnet1.claims(rows)}
    near = "modulation is within 5 % of full fine-tuning (Fréchet\\*, ratio)"
    assert claims[f"sketch: {near}"].holds and not claims[f"cartoon: {near}"].holds
    angles = {name: claim.holds for name, claim in claims.items() if "angles raise" in name}
    assert len(angles) == 2 * sum(trained.angle for trained in TRAINED)
    assert all(holds is (f"{TEXT}:" in name) for name, holds in angles.items())


def test_rows_of_a_guide_differ_in_what_they_compare_alone() -> None:
    stages = {stage.name: stage for stage in hyperdomainnet1.stages()}
    plain = Trained(ANCHORED, "full", False)
    angle = stages[f"table {plain._replace(angle=True).name} sketch"].argv
    other = stages[f"table {plain._replace(family='tokens').name} sketch"].argv
    base = stages[f"table {plain.name} sketch"].argv

    def settings(argv: tuple[str, ...]) -> set[str]:
        return {value for flag, value in pairwise(argv) if flag == "--set"}

    assert settings(angle) - settings(base) == {"weights.in_domain_angle=2.0"}
    assert {s.partition("=")[0] for s in settings(other) ^ settings(base)} == {"training.lr"}
