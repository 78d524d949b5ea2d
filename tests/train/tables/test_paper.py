"""The paper's tables: what they need, what they measure, what they claim."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rs_train.checkpoint import save_model
from rs_train.cli.eval import command
from rs_train.domains.codes import Codes
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters.build import Network, build
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables import hyperdomainnet1, hyperdomainnet2, kernels, styledomain
from rs_train.tables.claims import Claim
from rs_train.tables.heldout import HeldOut
from rs_train.tables.paper import TABLES, needed
from rs_train.tables.recipe import checkpoint
from rs_train.tables.recipe import stages as recipe_stages
from rs_train.tables.systems import (
    Subject,
    System,
    system_rows,
    systems_markdown,
    systems_picture,
)

NETWORK = Network(image_size=32, channels=(4, 8, 8, 16), heads=2, rank=2)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    shape = GeneratorConfig(channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    return Generator(shape).eval()


@pytest.fixture
def subject(generator: Generator) -> Subject:
    torch.manual_seed(1)
    metric = MetricNetwork(
        MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
    ).eval()
    image = torch.rand(12, 3, 32, 32) * 2 - 1
    return Subject(generator, metric, {"portraits": HeldOut(image, torch.ones(12, 1, 32, 32))})


def save(model: str, generator: Generator, path: Path) -> Path:
    torch.manual_seed(2)
    network = build(model, NETWORK, generator.config).eval()
    record = {
        "config": {"network": {"image_size": 32, "channels": [4, 8, 8, 16], "heads": 2, "rank": 2}},
        "steps": 7,
        "seconds": 60.0,
    }
    save_model(path, network, record)
    return path


def test_every_table_finds_what_it_reads():
    own = (hyperdomainnet1, hyperdomainnet2, styledomain)
    made, stages = [], [*recipe_stages(), *(stage for module in own for stage in module.stages())]
    for stage in stages:
        tables = [arg for arg in stage.argv if arg.startswith("models/tables/")]
        assert set(tables) - {stage.out} <= set(made), stage.name
        made.append(stage.out)
    names = {stage.name for stage in stages}
    for name, table in TABLES.items():
        plan = [stage.name for stage in needed(table)]
        assert set(table.stages) <= set(plan)
        assert plan.index("generator") > plan.index("render photo")
        # FeatureShift is trained on all of the demo's domains, the tables' own rows read none.
        assert ("text-only sketch" in plan) is name.startswith("encoders")
    assert names == {name for t in TABLES.values() for name in t.stages if name.startswith("table")}


def test_a_second_stage_is_compared_with_its_own_base(subject, generator, tmp_path):
    first = save("psp", generator, tmp_path / "psp.safetensors")
    other = save("style_transformer", generator, tmp_path / "st.safetensors")
    second = save("two_stage", generator, tmp_path / "refiner.safetensors")
    systems = [System("pSp", first), System("two-stage", other, second)]
    base, ours = system_rows(subject, systems)
    alone, _ = system_rows(subject, [System("ST", other), systems[0]])
    assert base.ratio is None
    assert ours.ratio == pytest.approx(ours.measured.mse / alone.measured.mse)
    assert base.parameters == sum(
        p.numel() for p in build("psp", NETWORK, generator.config).parameters()
    )
    assert base.steps == 7 and base.time == 1.0
    assert "| two-stage |" in systems_markdown([base, ours])
    picture = systems_picture(subject, "portraits", systems, (0, 3))
    assert picture.dtype == np.uint8 and picture.shape[1] > 3 * 32


def test_spectra_are_those_of_the_kernels_as_built(generator):
    torch.manual_seed(3)
    table = generator.table
    codes = Codes(
        torch.randn(2, generator.num_ws, 16),
        torch.randn(2, 2, table.sum_out),
        torch.randn(2, 2, table.sum_in),
    )
    found = kernels.spectra("model", generator, codes)[1]
    layer, module = table.convs[1], generator.synthesis.layers["b8_conv0"]
    expected = []
    for n in range(2):
        style = module.affine(codes.w_plus[n, layer.w_index]).detach().numpy()
        kernel = (module.weight * module.weight_gain).detach().numpy() * style[:, None, None]
        columns = slice(8, 16)
        dW = codes.P[n, :, columns].numpy().T @ codes.Q[n, :, columns].numpy()
        kernel = kernel + dW[:, :, None, None]
        expected.append(np.linalg.svd(kernel.reshape(8, -1), compute_uv=False))
    assert found.layer == "b8.conv0"
    assert np.allclose(found.refined, np.mean(expected, axis=0), rtol=1e-4)
    assert sum(value > 1e-4 for value in found.residual) == 2, "two tokens make a rank of two"
    assert 1 < found.effective_rank <= 2
    assert kernels.draw([found]).axes


@pytest.mark.parametrize(("value", "relation", "holds"), [(1, "<=", True), (1, "<", False)])
def test_claims_are_what_the_numbers_say(value, relation, holds):
    assert Claim("x", value, relation, 1).holds is holds


def test_every_table_has_its_command():
    assert set(command.commands) >= {*TABLES, "all"}


def test_checkpoints_have_plain_names():
    assert checkpoint("two_stage on psp") == "models/tables/two_stage-on-psp.safetensors"
