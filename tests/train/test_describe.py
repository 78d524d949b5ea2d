"""Counts of the published models, from their presets, to the digit."""

import json
from functools import cache

import pytest
from click.testing import CliRunner

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.describe import _MODEL_OF, command
from rs_train.config import presets

DOMAINS = ("domain", "one_shot", "nada", "goga", "mindthegap", "difa", "modulation", "affine_plus")
# Parameters; multiply-adds as the paper rounds them (G), None where nothing is computed a picture.
PUBLISHED = {
    "ffhq_style_transformer": (40_620_224, 36.29),
    "ffhq_one_stage": (46_384_800, 42.92),
    "ffhq_two_stage": (47_129_888, 51.09),
    "ffhq_domain": (2_982_400, None),
    "ffhq_one_shot": (2_982_400, None),
    "ffhq_mindthegap": (2_982_400, None),
    "ffhq_difa": (2_982_400, None),
    "ffhq_nada": (26_700_145, None),
    "ffhq_goga": (28_268_812, None),
    "ffhq_domain_modulation": (6_048, None),
    "ffhq_affine_plus": (5_187_968, None),
    "ffhq_hypernetwork": (13_913_504, None),
    "ffhq_generator": (30_370_060, 75.32),
    "ffhq_psp": (267_136_704, 72.48),
    "ffhq_e4e": (267_136_704, 72.48),
    "ffhq_restyle": (205_585_792, 182.78),
    "ffhq_hyperstyle": (332_664_896, 166.19),
    "ffhq_hfgi": (6_244_145, 29.59),
    "ffhq_feature_style": (113_920_704, 34.79),
    "ffhq_feature_shift": (61_965_568, 15.85),
    "cars_style_transformer": (40_619_200, 27.23),
    "cars_one_stage": (47_352_320, 32.70),
    "cars_two_stage": (46_982_144, 39.00),
    "cars_generator": (30_276_583, None),
}


@cache
def describe(*arguments: str) -> dict:
    result = CliRunner().invoke(command, [*arguments, "--json"])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.output)


@pytest.mark.parametrize("preset", list(PUBLISHED))
def test_published_presets_have_the_published_sizes(preset):
    parameters, billions = PUBLISHED[preset]
    found = describe(preset)
    assert found["parameters"] == parameters
    assert sum(part["parameters"] for part in found["parts"]) == parameters
    if billions is not None:
        assert round(found["macs"] / 1e9, 2) == billions
    elif preset.endswith(DOMAINS):
        assert found["macs"] is None
    is_car = preset.startswith("cars")
    assert (found["resolution"], found["num_ws"]) == ((512, 16) if is_car else (1024, 18))
    if found["reads"] is not None:
        assert found["reads"] == [192 if is_car else 256, 256]


def test_parts_are_those_of_the_specification():
    found = describe("ffhq_one_stage")
    parameters = {part["name"]: part["parameters"] for part in found["parts"]}
    assert parameters == {
        "input layer": 1_920,
        "trunk": 30_948_160,
        "laterals": 197_632,
        "decoder layer, coarse": 3_154_432,
        "decoder layer, medium": 3_154_432,
        "decoder layer, fine": 3_154_432,
        "learned z": 9_216,
        "grouped block, fine": 3_154_432,
        "learned tokens": 327_680,
        "heads of P and Q": 2_281_824,
        "scales A, B": 640,
        "residuals PᵀQ": 0,
    }
    macs = {part["name"]: part["macs"] for part in found["parts"]}
    assert macs["input layer"] + macs["trunk"] == pytest.approx(32.829e9, rel=1e-4)
    assert macs["laterals"] == pytest.approx(0.403e9, rel=1e-2)
    assert macs["residuals PᵀQ"] == 32 * 785_408
    (mapping, synthesis) = found["beside"]
    assert (mapping["parameters"], mapping["macs"]) == (2_101_248, 18 * 8 * 512 * 512)
    assert synthesis["parameters"] == 28_268_812


def test_a_domain_stores_less_than_it_trains():
    found = describe("ffhq_domain")
    assert found["beside"][0] == {
        "name": "stored in the token set", "parameters": 2_973_696, "macs": None
    }  # fmt: skip


def test_style_offsets_are_counted_by_the_layers_that_have_them():
    def count(*options):
        return describe("ffhq_style_space", *options)["parameters"]

    all_layers = ("--set", "training.first_layer=0")
    assert count(*all_layers) == 6_048
    assert count(*all_layers, "--set", "training.torgb=true") == 9_088
    assert count() == 6_048 - 6 * 512  # published for text: the first six convolutions stay


def test_the_parts_of_a_generator_add_up_to_its_convolutions():
    parts = describe("ffhq_generator")["parts"]
    convolutions = sum(part["macs"] for part in parts if part["name"].startswith("conv"))
    assert convolutions == pytest.approx(74.06e9, rel=0.02)  # blurs and styles on top


def test_sizes_can_be_overridden_and_the_demo_counted():
    plain = describe("ffhq_two_stage")
    half = describe("ffhq_two_stage", "--set", "network.rank=16")
    tokens = 17 * 2 * 16 * (512 + 1)
    assert plain["parameters"] - half["parameters"] == tokens
    demo = describe("demo_refiner")
    assert (demo["model"], demo["resolution"], demo["reads"]) == ("two_stage", 128, [128, 128])


def test_text_names_every_part():
    result = CliRunner().invoke(command, ["ffhq_style_transformer"])
    assert "40,620,224" in result.output and "36.292 G" in result.output
    assert "reads 256 x 256, generator 1024 x 1024, 18 rows" in result.output
    assert len(result.output.splitlines()) == 12


def test_every_shipped_preset_of_a_model_can_be_counted():
    judges = ("arcface", "attributes", "clip", "prompt_clip", "landmarks", "metric")
    own_words = {f"demo_{name}" for name in judges}
    assert {name.partition("_")[2] for name in set(presets()) - own_words} <= set(_MODEL_OF)
    assert describe("demo_e4e")["parameters"] > 0


def test_what_cannot_be_counted_is_named(tmp_path):
    with pytest.raises(UsageError, match="does not tell"):
        describe("demo_clip")
    with pytest.raises(UsageError, match="do not fit together"):
        describe("ffhq_two_stage", "--set", "network.refined_layers=18")
    own = tmp_path / "mine.toml"
    own.write_text("[network]\nimage_size = 128\n[loop]\nsteps = 1\n")
    found = describe(str(own), "--model", "psp", "--generator", "demo_generator")
    assert found["num_ws"] == 12
