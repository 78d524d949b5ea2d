"""Configurations: every preset loads, mistakes are named."""

import pytest

from rs_runtime.contracts.errors import UsageError
from rs_train.config import load, presets
from rs_train.tasks.generator import GeneratorRun


def test_overrides_reach_nested_sections():
    config = load(GeneratorRun, "demo_generator", ["training.lr=0.01", "loop.steps=3"])
    assert config.training.lr == 0.01
    assert config.loop.steps == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.rl=0.01", "did you mean training.r1_every|unknown option training.rl"),
        ("loop.steps=many", "loop.steps"),
        ("loop.steps", "section.key=value"),
        ("loop.steps.more=1", "loop.steps.more"),
        ("training.precision=fp8", "training.precision"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(UsageError, match=message):
        load(GeneratorRun, "demo_generator", [override])


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UsageError, match="demo_generator"):
        load(GeneratorRun, "demo_generater")


def test_a_toml_file_is_a_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("generator = { channels = [8, 8] }\ndiscriminator = { channels = [8, 8] }\n")
    with pytest.raises(UsageError, match="loop"):
        load(GeneratorRun, path)
    path.write_text(path.read_text() + "loop = { steps = 1 }\n")
    assert load(GeneratorRun, path).generator.resolution == 8
    path.write_text("loop = [")
    with pytest.raises(UsageError, match="not valid TOML"):
        load(GeneratorRun, path)


def test_presets_are_listed():
    assert "demo_generator" in presets()


@pytest.mark.parametrize("override", ["loop.log_every=0", "loop.steps=-1", "loop.seed=-3"])
def test_impossible_numbers_are_refused(override):
    with pytest.raises(UsageError, match="greater than or equal"):
        load(GeneratorRun, "demo_generator", [override])
