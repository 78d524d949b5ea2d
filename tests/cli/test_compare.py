"""``rs-run compare`` and folders of photos, on a bundle worked out by hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.cli.compare import parse_strengths
from rs_runtime.contracts.errors import MalformedFileError, UsageError
from rs_runtime.diagnostics.sheet import sheet
from rs_runtime.image_io import load_picture
from rs_runtime.overlap import overlapped
from tests.cli.test_rs_run import rs_run, runtime, template

__all__ = ["rs_run", "template"]
TINY = ("--bundle", "tiny", "--threads", "1")


def panel(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """The middle pixel of a panel of a sheet of square pictures."""
    return picture[row * (256 + 8 + 32) + 8 + 128, 8 + 264 * column + 128]


def test_a_sheet_of_all_domains_and_strengths(rs_run):
    out, _ = rs_run("compare", "photo.png", "--domains", "all", "--strengths", "0.5,2", *TINY)
    assert out == "wrote photo.compare.png\n"
    picture = load_picture("photo.compare.png")
    inversion = runtime().invert("photo.png")
    np.testing.assert_array_equal(panel(picture, 0, 0), inversion.input[0, 0])
    np.testing.assert_array_equal(panel(picture, 0, 1), inversion.reconstruction[0, 0])
    for row, domain in enumerate(("oil", "sketch"), start=1):
        for column, strength in enumerate((0.5, 2.0)):
            expected = inversion.synthesize((domain, strength))[0, 0]
            np.testing.assert_array_equal(panel(picture, row, column), expected)


def test_chosen_domains_and_json(rs_run):
    args = ["compare", "photo.png", "--domains", "sketch=0.5, oil", "--out", "x.webp", "--json"]
    facts = json.loads(rs_run(*args, *TINY)[0])
    assert facts["output"] == "x.webp" and facts["domains"] == ["sketch=0.5", "oil"]
    assert len(facts["strengths"]) == 5 and Path("x.webp").is_file()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--domains", "skech"], "did you mean sketch"),
        (["--strengths", "1,,2"], "not a list of numbers"),
        (["--strengths", "nan"], "not a list of numbers"),
        (["--out", "photo.png"], "would replace the input"),
    ],
)
def test_what_makes_no_sheet(rs_run, args, said):
    before = Path("photo.png").read_bytes()
    _, err = rs_run("compare", "photo.png", *args, *TINY, code=2)
    assert said in err and Path("photo.png").read_bytes() == before


def test_strengths():
    assert parse_strengths("-1, 0.5,2") == [-1, 0.5, 2]


def test_a_sheet_needs_rows():
    with pytest.raises(UsageError):
        sheet([])


def test_a_folder_of_photos(rs_run):
    Path("in").mkdir()
    for name in ("a.png", "a.webp", "b.PNG"):
        (Path("in") / name).write_bytes(Path("photo.png").read_bytes())
    (Path("in") / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (Path("in") / "notes.txt").write_text("no picture")
    out, err = rs_run("invert", "in", "-d", "oil", "--no-strip", "--bundle", "tiny", code=8)
    results = ["a.oil.png", "a.webp.oil.png", "b.oil.png"]
    assert sorted(os.listdir("in/oil")) == results
    assert out.splitlines() == [f"wrote in/oil/{name}" for name in results]
    assert "in/bad.jpg  exit 3" in err and "1 of 4 photos failed" in err
    expected = runtime().invert("photo.png").synthesize("oil")
    np.testing.assert_array_equal(load_picture("in/oil/b.oil.png"), expected)
    rs_run("invert", "in", "-d", "oil", "--no-strip", "--bundle", "tiny", code=8)
    assert sorted(os.listdir("in/oil")) == results, "results are no photos"
    rs_run("invert", "in", "photo.png", "--bundle", "tiny", "--out", "all", code=8)
    assert "photo.inverted.strip.png" in os.listdir("all")


def test_an_empty_folder_is_named(rs_run):
    Path("none").mkdir()
    _, err = rs_run("invert", "none", "--bundle", "tiny", code=2)
    assert "no pictures in this folder" in err


def test_reading_runs_ahead_and_writing_behind():
    """Each step waits for what can only happen meanwhile; serial work would stop here."""
    import threading

    read = [threading.Event() for _ in range(4)]
    worked = [threading.Event() for _ in range(4)]

    def reading(n):
        read[n].set()
        return 10 * n

    def working(n, value):
        assert n + 1 == 4 or read[n + 1].wait(10), "the next is read before this is done"
        worked[n].set()
        if n == 2:
            raise MalformedFileError("bad")
        return value + 1

    def writing(n, value):
        assert n + 1 == 4 or worked[n + 1].wait(10), "this is written while the next runs"
        assert value == 10 * n + 1

    outcomes = list(overlapped(range(4), reading, working, writing))
    assert [item for item, _ in outcomes] == [0, 1, 2, 3]
    assert [error is not None for _, error in outcomes] == [False, False, True, False]


def test_our_own_bugs_are_not_outcomes():
    with pytest.raises(ZeroDivisionError):
        list(overlapped([1], lambda n: n, lambda n, value: n // 0, lambda n, value: None))
