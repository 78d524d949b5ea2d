"""rs-train demo: which stage may run when."""

import threading

import pytest
from click.testing import CliRunner

from rs_train import stages as running
from rs_train.cli import demo
from rs_train.demo_recipe import stages
from rs_train.stages import Stage

WAIT = 20  # seconds after which a stage that should have had company gives up

MADE_WHERE_MISSING = ("data/held-out", "models/reconstruction.json", "models/pairs.safetensors")


@pytest.fixture
def began(monkeypatch, tmp_path):
    """Stages a -> b and c beside them, run by a stand-in; an event for each stage's start."""
    recipe = [
        Stage("a", ("render", "--out", "data/a")),
        Stage("b", ("judge", "--data", "data/a=0.5", "--out", "models/b")),
        Stage("c", ("render", "--out", "data/c")),
    ]
    monkeypatch.setattr(demo, "stages", lambda: recipe)
    began = {stage.name: threading.Event() for stage in recipe}
    ended = []

    def run(stage, work):
        began[stage.name].set()
        if stage.name == "a":
            assert began["c"].wait(WAIT), "c does not need a"
        if stage.name == "b":
            assert "a" in ended
        ended.append(stage.name)
        return {"command": stage.name, "seconds": 1.0, "machine": ""}

    monkeypatch.setattr(running, "_run", run)
    monkeypatch.setattr(demo, "write_demo_page", lambda work, record: list(record))
    return began


def test_stages_wait_for_what_they_read_alone(began, tmp_path):
    result = CliRunner().invoke(demo.command, ["--work", str(tmp_path), "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["a", "b", "c"], "the page keeps the recipe's order"


def test_a_failure_lets_the_others_end_and_is_reported(began, tmp_path, monkeypatch):
    inner = running._run

    def run(stage, work):
        if stage.name == "c":
            began["c"].set()
            raise running._StageError(stage, 7)
        return inner(stage, work)

    monkeypatch.setattr(running, "_run", run)
    result = CliRunner().invoke(demo.command, ["--work", str(tmp_path), "--jobs", "2"])
    assert isinstance(result.exception, running._StageError) and result.exception.exit_code == 7
    assert not began["b"].is_set()
    assert '"a"' in (tmp_path / "record.json").read_text()


def test_every_training_of_the_recipe_finds_its_inputs():
    made = []
    for stage in stages():
        inputs = [a.partition("=")[0] for a in stage.argv if a.startswith(("data/", "models/"))]
        for path in set(inputs) - {stage.out}:
            is_made = any(out == path or out.startswith(f"{path}/") for out in made)
            own = path in (
                "data/held-out",
                "models/reconstruction.json",
                "models/pairs.safetensors",
                "models/samples.safetensors",
            )
            assert is_made or own, f"{stage.name}: {path}"
        made.append(stage.out)
