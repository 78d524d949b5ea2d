"""The loop: bit-exact resume, figures, interruption, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rs_runtime.contracts.errors import IncompatibleError, NumericsError
from rs_train.data import batch_indices
from rs_train.loop import run
from tests.train.line import LOOP, Line, LineTask, Numbers


def train(folder, loop=LOOP, **options):
    return run(LineTask(**options), Numbers(), loop, folder, quiet=True)


def test_a_run_leaves_log_samples_record_and_result(tmp_path):
    (result,) = train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "0000006.png",
        "0000012.png",
    ]
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["steps"] == 12
    assert record["figures"]["loss"] == lines[-1]["loss"]
    assert result.exists()


def test_resume_is_bit_exact(tmp_path):
    (whole,) = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", stop_at=6)
    (parts,) = train(tmp_path / "parts")
    assert parts.read_text() == whole.read_text()
    assert len(list((tmp_path / "parts").glob("checkpoint-*.pt"))) == 2

    def figures(folder):
        rows = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return {row["step"]: row["loss"] for row in map(json.loads, rows)}

    left, right = figures("parts"), figures("whole")
    assert left[12] == right[12]
    assert set(left) <= set(right) | {7}


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"x" * len(data)])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    (whole,) = train(tmp_path)
    expected = whole.read_text()
    newest = max(tmp_path.glob("checkpoint-*.pt"))
    newest.write_bytes(damage(newest.read_bytes()))
    (again,) = train(tmp_path)
    assert again.read_text() == expected


def test_a_log_that_was_cut_in_a_line_goes_on(tmp_path):
    train(tmp_path, loop=replace(LOOP, steps=8))
    log = tmp_path / "metrics.jsonl"
    with log.open("a") as file:
        file.write('{"step": 10, "seco')
    train(tmp_path)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_not_a_number_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(NumericsError, match="loss became nan"):
        train(tmp_path, fail_at=9)
    assert [p.name for p in sorted(tmp_path.glob("checkpoint-*.pt"))] == [
        "checkpoint-0000004.pt",
        "checkpoint-0000008.pt",
    ]


def test_another_configuration_does_not_resume(tmp_path):
    train(tmp_path)
    with pytest.raises(IncompatibleError):
        train(tmp_path, config=replace(Line(), lr=0.2))


def test_more_steps_go_on_from_where_a_run_ended(tmp_path):
    train(tmp_path)
    (longer,) = train(tmp_path, loop=replace(LOOP, steps=20))
    (whole,) = train(tmp_path / "whole", loop=replace(LOOP, steps=20))
    assert longer.read_text() == whole.read_text()


def test_every_epoch_is_a_permutation_of_its_own():
    seen = [batch_indices(10, 5, step, seed=3) for step in range(4)]
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == list(range(10))
    assert seen[:2] != seen[2:]
    assert seen == [batch_indices(10, 5, step, seed=3) for step in range(4)]
    assert len(batch_indices(3, 8, 0, seed=0)) == 8


def test_paths_of_results_are_returned(tmp_path):
    assert train(tmp_path) == [Path(tmp_path / "model.txt")]
