"""The page about the demo says what its record holds."""

import json
import subprocess
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from rs_train import stages as running
from rs_train.cli import demo
from rs_train.demo_recipe import stages
from rs_train.stages import Stage
from rs_train.tables.record import demo_page, duration, machine, trainings_page

_RECORD = {
    "render photo": {
        "command": "rs-train render --out data/photo --count 12 --seed 1",
        "seconds": 61.4,
        "machine": "Quick 9, 2 cores",
    },
    "base_inverter": {
        "command": "rs-train inverter --model style_transformer",
        "seconds": 5400,
        "machine": "Quick 9, 2 cores",
        "steps": 4000,
        "seed": 3,
        "figures": {"loss": 0.5, "validation_base": 0.012345, "step": 1, "identity": 0.25},
        "commit": "abc123",
        "versions": {"torch": "2.13"},
    },
    "refiner": {
        "command": "rs-train inverter --model two_stage",
        "seconds": 100.0,
        "steps": 3000,
        "seed": 0,
        "figures": {"validation_base": 0.0125, "validation_refined": 0.004, "odd": 1},
        "commit": "def456",
        "versions": {"torch": "2.13"},
    },
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5400, "1 h 30 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_the_page_has_a_row_a_stage_and_every_command():
    page = demo_page(_RECORD)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "| render photo | 61 s |  |  |  |",
        "| base_inverter | 1 h 30 min | 4,000 | 3 "
        "| validation base 0.01235, loss 0.5, identity 0.25 |",
        "| refiner | 2 min | 3,000 | 0 | validation refined 0.004, validation base 0.0125 |",
    ]
    commands = page.split("```text\n")[1].split("\n```")[0].splitlines()
    assert commands == [kept["command"] for kept in _RECORD.values()]
    assert "3 stages, 1 h 33 min in all" in page


def test_machines_versions_and_commits_are_named_once():
    page = demo_page(_RECORD)
    assert "* machine: Quick 9, 2 cores\n" in page
    assert "* versions: torch 2.13\n" in page
    assert "* commits: abc123; def456\n" in page


def test_a_record_without_machines_leaves_the_line_out():
    assert "* machine" not in demo_page({"refiner": _RECORD["refiner"]})


def test_this_machine_has_a_name():
    assert "cores" in machine() and "\n" not in machine()


@pytest.fixture
def two_stages(monkeypatch):
    """A recipe of two stages that a stand-in for rs-train runs."""
    recipe = [Stage("render a", ("render", "--out", "a"))]
    recipe.append(Stage("fit", ("train", "--out", "fit"), run="runs/fit"))
    monkeypatch.setattr(demo, "stages", lambda: recipe)

    def run(argv, cwd):
        if argv[-1] == "fit":
            folder = cwd / "runs" / "generator"
            folder.mkdir(parents=True)
            line = json.dumps({"step": 20, "seconds": 1, "g_loss": 1.0, "d_loss": 2.0})
            (folder / "metrics.jsonl").write_text(line + "\n")
            kept = {"seconds": 7.0, "steps": 20, "figures": {"loss": 1.0}, "commit": "c"}
            kept |= {"versions": {}, "config": {"loop": {"seed": 5}}}
            (cwd / "runs" / "fit").mkdir()
            (cwd / "runs" / "fit" / "record.json").write_text(json.dumps(kept))
        return subprocess.CompletedProcess(argv, 0)

    stand_in = SimpleNamespace(run=run, list2cmdline=subprocess.list2cmdline)
    monkeypatch.setattr(running, "subprocess", stand_in)


def test_the_demo_ends_with_its_page(two_stages, tmp_path):
    work = tmp_path / "work"
    first = CliRunner().invoke(demo.command, ["--work", str(work), "--only", "fit"])
    assert first.exit_code == 0, first.output
    assert not (work / "demo.md").exists()
    second = CliRunner().invoke(demo.command, ["--work", str(work)])
    assert second.exit_code == 0, second.output
    page = (work / "demo.md").read_text()
    assert page.index("| render a |") < page.index("| fit | 7 s | 20 | 5 |")
    assert machine() in page
    assert (work / "images" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_the_real_recipe_makes_a_page():
    record = {s.name: {"command": f"rs-train {s.name}", "seconds": 1.0} for s in stages()}
    assert demo_page(record).count("\n| ") == len(record) + 1


def test_the_trainings_of_the_tables_have_a_page():
    page = trainings_page(_RECORD)
    assert all(str(kept["command"]) in page for kept in _RECORD.values())
    assert f"{len(_RECORD)} trainings" in page
