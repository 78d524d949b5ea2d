"""Training curves: what is drawn is what was logged."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from rs_runtime.contracts.errors import MalformedFileError, UsageError
from rs_train.tables.curves import (
    draw,
    draw_systems,
    points,
    read_metrics,
    smooth,
    write_curves,
)


def _log(runs, name, lines):
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def runs(tmp_path):
    """Logs of four runs, with known values."""
    base = [{"step": 50, "loss": 1.0}, {"step": 100, "loss": 0.9, "validation_base": 0.04}]
    _log(tmp_path, "base_inverter", [*base, {"step": 200, "validation_base": 0.02}])
    _log(tmp_path, "control", [{"step": 150, "validation_base": 0.018}])
    refined = {"step": 150, "validation_base": 0.02, "validation_refined": 0.008}
    _log(tmp_path, "refiner", [refined])
    losses = [{"step": 20 * i, "g_loss": 1.0 + i, "d_loss": 2.0} for i in range(1, 5)]
    _log(tmp_path, "generator", losses)
    growth = {"config": {"training": {"growth": [[32, 0], [64, 40]]}}}
    (tmp_path / "generator" / "record.json").write_text(json.dumps(growth))
    return tmp_path


def test_points_are_where_the_figure_was_logged(runs):
    log = read_metrics(runs / "base_inverter")
    assert points(log, "validation_base", after=10) == ([110, 210], [0.04, 0.02])


def test_smoothing_keeps_a_constant_and_lags_behind_a_jump():
    assert np.allclose(smooth([3.0] * 5), 3.0)
    averaged = smooth([0.0] * 5 + [1.0] * 40)
    assert averaged[4] == 0.0 and 0 < averaged[5] < 0.5 < averaged[-1] < 1


def test_inverters_share_an_axis_of_budgets(runs):
    left, right = draw(runs).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in left.get_lines()}
    assert drawn["base inverter: 0.0200"] == [[100, 0.04], [200, 0.02]]
    assert drawn["base, trained on (control): 0.0180"] == [[350, 0.018]]
    assert drawn["two-stage: 0.0080"] == [[350, 0.008]]
    for axes in (left, right):
        assert axes.get_title() and axes.get_xlabel() and axes.get_ylabel()
        assert axes.get_legend() is not None
    assert left.get_yscale() == "log"


def test_the_generator_s_losses_and_growth(runs):
    right = draw(runs).axes[1]
    raw = right.get_lines()[0].get_xydata().tolist()
    assert raw == [[20, 2.0], [40, 3.0], [60, 4.0], [80, 5.0]]
    assert [text.get_text() for text in right.texts] == ["32²", "64²"]


def test_the_picture_is_readable_and_the_same_twice(runs, tmp_path):
    first = write_curves(runs, tmp_path / "images" / "a.png").read_bytes()
    assert write_curves(runs, tmp_path / "b.png").read_bytes() == first
    picture = np.asarray(Image.open(io.BytesIO(first)).convert("L"))
    assert picture.shape[1] >= 1000 and (picture < 128).mean() > 0.002


def test_runs_that_are_missing_are_left_out(tmp_path):
    _log(tmp_path, "refiner", [{"step": 5, "validation_refined": 0.1}])
    left, right = draw(tmp_path).axes
    assert len(left.get_lines()) == 1 and not right.get_lines()


def test_no_logs_and_damaged_logs_are_refused(tmp_path):
    with pytest.raises(UsageError):
        draw(tmp_path)
    _log(tmp_path, "refiner", [])
    (tmp_path / "refiner" / "metrics.jsonl").write_text("{\n")
    with pytest.raises(MalformedFileError):
        draw(tmp_path)


def test_systems_show_what_their_last_stage_reaches(runs):
    figure = draw_systems({"base": runs / "base_inverter", "two-stage": runs / "refiner"})
    (axes,) = figure.axes
    labels = [line.get_label() for line in axes.get_lines()]
    refined = points(read_metrics(runs / "refiner"), "validation_refined")[1]
    assert labels[1] == f"two-stage: {refined[-1]:.4f}"
    assert labels[0].startswith("base: ")
