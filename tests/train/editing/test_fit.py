"""Directions fitted to heads whose attributes are known functions of w."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rs_runtime.contracts.directions import read_direction
from rs_runtime.contracts.errors import IncompatibleError, NumericsError, UsageError
from rs_train.checkpoint import save_model
from rs_train.cli import group
from rs_train.editing.ganspace import component_for, fit_components
from rs_train.editing.interfacegan import fit_normal
from rs_train.editing.samples import Samples, draw_samples, read_samples, write_samples
from rs_train.generator import Generator, GeneratorConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork

RNG = np.random.default_rng(4)
AXES = np.linalg.qr(RNG.normal(size=(8, 8)))[0]


def heads(count: int = 1200) -> Samples:
    """Smile follows axis 0 and a little of axis 1, which is pose; axis 2 varies most."""
    coordinates = RNG.normal(size=(count, 8)) * [1, 1, 2, 0.5, 0.5, 0.5, 0.5, 0.5]
    scores = np.stack([coordinates[:, 0] + 0.5 * coordinates[:, 1], coordinates[:, 1]], axis=1)
    return Samples(coordinates @ AXES.T, scores, ("smile", "pose"))


def generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    config = GeneratorConfig(channels=(8, 4), w_dim=8, z_dim=8)
    return Generator(config).eval().requires_grad_(False)


def judge() -> MetricNetwork:
    torch.manual_seed(1)
    config = MetricConfig(image_size=8, channels=(4, 8), embed_dim=4, attributes=("smile", "pose"))
    return MetricNetwork(config).eval().requires_grad_(False)


def test_the_normal_follows_the_attribute_and_leaves_what_is_held():
    samples = heads()
    normal = fit_normal(samples, "smile", share=0.2)
    wanted = AXES @ [1, 0.5, 0, 0, 0, 0, 0, 0]
    assert normal @ wanted / np.linalg.norm(wanted) > 0.95
    held = fit_normal(samples, "smile", share=0.2, keep=["pose"])
    assert np.linalg.norm(held) == pytest.approx(1)
    assert held @ AXES[:, 0] > 0.95
    assert abs(held @ fit_normal(samples, "pose", share=0.2)) < 1e-9


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(UsageError, match="no attribute 'age'"):
        fit_normal(heads(), "age", share=0.2)
    with pytest.raises(NumericsError, match="no direction is left"):
        fit_normal(heads(), "smile", share=0.2, keep=["smile"])
    with pytest.raises(UsageError, match="too few or too many"):
        fit_normal(heads(20), "smile", share=0.01)


def test_components_are_the_widest_axes():
    samples = heads()
    components = fit_components(samples)
    assert abs(components.components[0] @ AXES[:, 2]) > 0.99
    assert components.deviation[0] == pytest.approx(2, rel=0.1)
    number, correlation = component_for(samples, components, "pose")
    assert number in (1, 2) and 0.5 < abs(correlation) <= 1


def test_samples_are_the_same_every_time_and_kept(tmp_path):
    network = generator()
    first, again = (draw_samples(network, judge(), 5, 3) for _ in range(2))
    np.testing.assert_array_equal(first.w, again.w)
    assert first.w.shape == (5, 8) and first.scores.shape == (5, 2)
    write_samples(tmp_path / "s", first, network)
    kept = read_samples(tmp_path / "s", network)
    np.testing.assert_array_equal(kept.scores, first.scores)
    assert kept.attributes == ("smile", "pose")
    with pytest.raises(IncompatibleError, match="another generator"):
        read_samples(tmp_path / "s", generator(9))


def test_the_commands_write_what_the_runtime_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = generator()
    save_model(tmp_path / "g.safetensors", network, {"licence": "CC0-1.0"})
    save_model(tmp_path / "j.safetensors", judge())
    np.save(tmp_path / "age.npy", np.ones((1, 8), "f4"))

    def call(*arguments: str) -> list[dict]:
        done = CliRunner().invoke(
            group, ["directions", *arguments, "--generator", "g.safetensors", "--json"]
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout[done.stdout.index("[") :])

    drawn = ("--samples", "s.safetensors", "--count", "40", "--out", "edits")
    fitted = call(
        *("fit", "--method", "interfacegan", "--judge", "j.safetensors", *drawn),
        *("--attribute", "smile", "--attribute", "pose", "--rows", "1:3"),
    )
    fitted += call("fit", "--method", "ganspace", "--attribute", "pose", *drawn[:2], "--out", "pca")
    fitted += call("import", "age.npy", "--out", "public", "--licence", "MIT")
    names = ["edits/smile", "edits/pose", "pca/pose", "public/age"]
    assert [own["path"] for own in fitted] == [f"{name}.direction" for name in names]
    for own in fitted:
        made = read_direction(own["path"], table=network.table, fingerprint=network.fingerprint())
        assert made.licence == ("MIT" if made.name == "age" else "CC0-1.0")
        assert made.kind == ("absolute" if own["path"].startswith("pca") else "linear")
    assert not read_direction("edits/smile.direction", table=None, fingerprint=None).step[0].any()
