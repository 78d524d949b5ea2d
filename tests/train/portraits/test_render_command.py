"""rs-train render: folders, workers, resuming, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_train.cli.render import command
from rs_train.portraits import (
    COMPOSED,
    LANDMARK_NAMES,
    PARAMETER_NAMES,
    caption,
    render,
    sample_scene,
)


def _run(out: Path, *more: str) -> None:
    arguments = ["--out", str(out), "--count", "6", "--size", "32", "--seed", "9", *more]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_holds_pictures_labels_and_masks(tmp_path: Path) -> None:
    out = tmp_path / "sketches"
    _run(out, "--domain", "sketch", "--masks", "--extras")
    lines = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [f"{i:06d}.png" for i in range(6)]
    truth = render(sample_scene(9, 2, extras=True), 32, "sketch")
    assert np.array_equal(np.asarray(Image.open(out / "000002.png")), truth.image)
    with np.load(out / "masks" / "000002.npz") as masks:
        assert np.array_equal(masks["face"], truth.masks["face"])
    line = lines[2]
    assert line["domain"] == "sketch"
    assert line["caption"].startswith("a toned pencil sketch of")
    assert len(line["parameters"]) == len(PARAMETER_NAMES)
    points = [line["landmarks"][name] for name in LANDMARK_NAMES]
    np.testing.assert_allclose(points, truth.landmarks, atol=1e-3)


def test_workers_change_no_byte(tmp_path: Path) -> None:
    _run(tmp_path / "one")
    _run(tmp_path / "two", "--workers", "2")
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_the_same_command_finishes_a_render(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    _run(out)
    whole = _contents(out)
    kept = (out / "000001.png").stat().st_mtime_ns
    (out / "000004.png").unlink()
    (out / "labels.jsonl").unlink()
    (out / ".000004.png.7.part").write_bytes(b"half")
    _run(out)
    assert _contents(out) == whole
    assert (out / "000001.png").stat().st_mtime_ns == kept


@pytest.mark.parametrize("other", [("--domain", "oil"), ("--seed", "10"), ("--extras",)])
def test_another_render_is_not_mixed_in(tmp_path: Path, other: tuple[str, ...]) -> None:
    out = tmp_path / "faces"
    _run(out)
    before = _contents(out)
    with pytest.raises(UsageError, match="holds another render"):
        _run(out, *other)
    assert _contents(out) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a render"):
        _run(tmp_path)
    assert _contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_people_take_turns(tmp_path: Path) -> None:
    out = tmp_path / "people"
    _run(out, "--people", "2")
    identity = [json.loads(line)["identity"] for line in (out / "labels.jsonl").open()]
    assert identity == [identity[0], identity[1]] * 3
    assert identity[0] != identity[1]


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    out.write_text("not a folder")
    with pytest.raises(ResourceError, match="cannot render into"):
        _run(out)
    assert out.read_text() == "not a folder"


def test_any_draws_a_composed_look_for_each_picture(tmp_path: Path) -> None:
    out = tmp_path / "any"
    _run(out, "--domain", "any")
    lines = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    names = [line["domain"] for line in lines]
    assert len(set(names)) > 3
    assert set(names) <= set(COMPOSED)
    for index, line in enumerate(lines):
        scene = sample_scene(9, index)  # as every other domain has it
        picture = render(scene, 32, line["domain"]).image
        assert np.array_equal(np.asarray(Image.open(out / line["file"])), picture)
        assert line["caption"] == caption(scene, line["domain"])
