"""The table of many domains: its plan, its ways, and a page of tiny networks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.checkpoint import save_model
from rs_train.domains.hypernetwork import HyperDomainNet, HyperDomainNetConfig, clip_fingerprint
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters import Refiner, RefinerConfig, StyleTransformer, StyleTransformerConfig
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables import hyperdomainnet2 as table
from rs_train.tables import hyperdomainnet2_page as pages
from rs_train.tables.hyperdomainnet2 import (
    ABLATED,
    MODULATION,
    NEAREST,
    PERFECT,
    SOURCE,
    TOKENS,
    TRAININGS,
    path_of,
    stage_name,
)
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.paper import TABLES, needed

COUNT = 5
GROUPS = {"seen": ("chalk-sepia-ink-dramatic",), "held out": ("washes-pop-fine-scene",)}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    work: Path = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    generator = Generator(
        GeneratorConfig(channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    )
    trunk = {"image_size": 32, "channels": (4, 8, 8, 16), "heads": 2}
    base = StyleTransformer(
        StyleTransformerConfig(num_ws=generator.num_ws, z_dim=16, w_dim=16, **trunk)
    )
    base.bake(generator.mapping)
    shapes = tuple((c.in_channels, c.out_channels) for c in generator.table.convs)
    clip = Clip(ClipConfig(image_size=32, embed_dim=6, vision_width=8, text_width=8)).eval()
    (work / "models").mkdir()
    models = {
        "generator": generator,
        "base_inverter": base,
        "refiner": Refiner(RefinerConfig(conv_channels=shapes, refined_layers=7, rank=2, **trunk)),
        "metric": MetricNetwork(MetricConfig(image_size=32, channels=(4, 6, 8), attributes=("a",))),
        "prompt_clip": clip,
    }
    for name, model in models.items():
        save_model(work / f"models/{name}.safetensors", model)
    config = HyperDomainNetConfig(
        conv_channels=shapes,
        embed_dim=6,
        width=8,
        rank=2,
        generator=generator.fingerprint(),
        clip=clip_fingerprint(clip),
    )
    for name in (TOKENS, *TRAININGS):
        predicts = "tokens" if name == TOKENS else "modulation"
        network = HyperDomainNet(replace(config, predicts=predicts))
        for head in network.heads:
            torch.nn.init.normal_(head[-1].weight)
        path = work / path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(path, network)
    return Laboratory(work, COUNT, 9001, 1)


def test_every_network_is_trained_by_a_stage_of_its_own() -> None:
    planned = {stage.name: stage for stage in needed(TABLES["hyperdomainnet2"])}
    for name in (TOKENS, *TRAININGS):
        stage = planned[stage_name(name)]
        assert stage.out == path_of(name)
        assert ("--pictures" in stage.argv) == (name != table.TEXT_ONLY)
    assert {f"render seen/{look}" for look in table.SEEN} <= set(planned)
    assert not any("data/seen" in arg for arg in planned[stage_name(table.TEXT_ONLY)].argv)


def test_the_page_measures_every_way_on_both_groups(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {stage_name(name): {"steps": 7} for name in (TOKENS, *TRAININGS)}
    monkeypatch.setattr(pages, "record_of", lambda work: steps)
    monkeypatch.setattr(pages, "GROUPS", GROUPS)
    monkeypatch.setattr(pages, "_COLUMNS", 1)
    result = pages.page(laboratory)
    ways = [(SOURCE, ""), *((name, "text") for name in (TOKENS, *TRAININGS)), (PERFECT, "")]
    ways += [(name, "picture") for name in (TOKENS, MODULATION)] + [(NEAREST, "")]
    rows = {(row.group, row.network, row.given): row for row in result.rows}
    assert set(rows) == {(group, *way) for group in GROUPS for way in ways}
    for group in GROUPS:
        perfect, source = rows[group, PERFECT, ""], rows[group, SOURCE, ""]
        assert perfect.measured.mse == 0
        assert (perfect.precision, perfect.recall, perfect.way) == (1, 1, 1)
        assert source.way == 0
        assert source.measured.count == COUNT * source.looks
    assert result.table.count("\n") == 2 + len(rows)
    assert set(result.pictures) == {"seen", "held-out"}
    assert not any(name in ABLATED for name in (TOKENS, MODULATION))


def test_a_network_of_another_clip_is_refused(laboratory: Laboratory) -> None:
    portraits = pages._portraits(laboratory)
    config = HyperDomainNetConfig(embed_dim=6, width=8, clip="0" * 64)
    with pytest.raises(IncompatibleError, match="another clip"):
        table.ways(portraits, {TOKENS: HyperDomainNet(config)})
