"""Rows of a tiny world of aliens are measured, and StyleDomain's claims checked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rs_train.domains.codes import Codes
from rs_train.domains.description import DomainDescription
from rs_train.generator import Generator, GeneratorConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables import styledomain
from rs_train.tables.heldout import HeldOut
from rs_train.tables.hyperdomainnet1 import RATES
from rs_train.tasks.domain import FAMILIES, new_change
from rs_train.tasks.domain_config import DomainTraining


class Laboratory:
    """A work folder of a generator of 32 x 32, with rows that were never trained."""

    def __init__(self, work: Path) -> None:
        torch.manual_seed(0)
        shape = GeneratorConfig(channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
        self.work, self.generator = work, Generator(shape).eval().requires_grad_(False)
        config = MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
        self.metric = MetricNetwork(config).eval()

    def model(self, name: str) -> None:
        return None

    def held_out(self, domain: str = "photo") -> HeldOut:
        torch.manual_seed(len(domain))
        return HeldOut(torch.rand(24, 3, 32, 32) * 2 - 1, torch.ones(24, 1, 32, 32))


def test_every_row_is_measured_and_claims_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory = Laboratory(tmp_path)
    generator, table = laboratory.generator, laboratory.generator.table
    w_plus = generator.broadcast(generator.mapping(torch.randn(24, 16)))
    codes = Codes(w_plus, torch.zeros(24, 0, table.sum_out), torch.zeros(24, 0, table.sum_in))
    monkeypatch.setattr(styledomain, "invert", lambda *_: codes)
    monkeypatch.setattr(styledomain, "trained_numbers", lambda *_: 7)
    (tmp_path / "models/tables").mkdir(parents=True)
    about = DomainDescription(name="none", source="a test")
    outs = {Path(stage.out).stem: tmp_path / stage.out for stage in styledomain.stages()[1:]}
    for family in RATES:
        change = new_change(generator, DomainTraining(parameterisation=family, offset_block=16))
        path = outs[f"few-{family}-alien"]
        assert path.suffix == FAMILIES[family].suffix
        change.write(path, generator, about, {"licence": "CC0-1.0"})
    result = styledomain.make(laboratory)
    names = [row.family for row in result.rows]
    assert names == ["unadapted source", *RATES, "true render"]
    assert (result.rows[-1].precision, result.rows[-1].recall) == (1, 1)
    assert "| full | 7 |" in result.table and result.pictures["alien"].ndim == 3

    def rows(**distance: float) -> list[styledomain.Row]:
        return [
            replace(row, measured=replace(row.measured, frechet=distance.get(row.family, 50.0)))
            for row in result.rows
        ]

    held = styledomain.claims(rows(affine_plus=10.0, full=9.8, style_space=20.0))
    assert [claim.holds for claim in held] == [True, True]
    failed = styledomain.claims(rows(affine_plus=30.0, full=9.8, style_space=20.0))
    assert [claim.holds for claim in failed] == [False, False]
