"""What the README promises of the demo is done: its Python block and its commands, on the photo."""

import glob
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.contracts.errors import ResourceError
from rs_runtime.pipeline import DEMO_BUNDLE
from tests.readme.pages import PAGES, README, ROOT, blocks, commands

# Providers of a GPU or of bf16 instructions; elsewhere such a command says what is missing.
_NEEDS_HARDWARE = {"cuda", "tensorrt", "openvino-bf16"}
_PHOTO = ROOT / "examples" / "photo.jpg"
_SAY_ONLY = ("info", "doctor")
_MEGABYTES = {"rs_train/demo": 40, "rs_runtime/demo": 25}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A place where the pages' commands find what they name: photos, a folder, bundles."""
    (tmp_path / "examples").mkdir()
    for name in ("photo.jpg", "group.jpg"):
        shutil.copy(_PHOTO.with_name(name), tmp_path / "examples" / name)
    shutil.copy(_PHOTO, tmp_path / "photo.jpg")
    (tmp_path / "folder").mkdir()
    shutil.copy(_PHOTO, tmp_path / "folder" / "photo.jpg")
    for name in ("bundle", "bundle-one-stage", "bundle-features", "ffhq"):
        (tmp_path / name).symlink_to(DEMO_BUNDLE, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_block_gives_a_picture(folder):
    (block,) = [block for block in blocks(README) if block.language == "python"]
    names: dict = {}
    exec(compile(block.text, str(README), "exec"), names)
    size = names["portrait"].reconstruction.shape[0]
    pictures = [v for v in names.values() if isinstance(v, np.ndarray)]
    assert [(p.dtype, p.shape) for p in pictures] == [(np.uint8, (size, size, 3))]
    assert pictures[0].std() > 10
    assert np.any(pictures[0] != names["portrait"].reconstruction)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(c.program == "rs-run" for c in commands(page))],
    ids=lambda page: page.name,
)
def test_rs_run_commands_do_what_they_say(page, folder, capsys):
    for command in commands(page):
        if command.program != "rs-run":
            continue
        argv = []
        for word in command.argv:
            argv += sorted(glob.glob(word)) if "*" in word else [word]
        argv += ["--runs", "1"] if argv[0] == "bench" else []
        with pytest.raises(SystemExit) as outcome:
            run(group, "rs-run", argv)
        said = capsys.readouterr()
        if _NEEDS_HARDWARE & set(argv) and outcome.value.code == ResourceError.exit_code:
            continue
        assert outcome.value.code == 0, f"{command}: {said.err}"
        lines = said.out.splitlines()
        written = [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]
        for path in written:
            assert Path(path).stat().st_size
            if not path.endswith((".tokens", ".json")):
                Image.open(path).verify()
        assert written or command.argv[0] in _SAY_ONLY, f"{command} writes nothing"
        assert lines, f"{command} says nothing"


def test_the_first_command_writes_the_picture_and_the_strip(folder, capsys):
    command = commands(README)[0]
    with pytest.raises(SystemExit) as outcome:
        run(group, "rs-run", list(command.argv))
    assert outcome.value.code == 0
    said = capsys.readouterr().out
    paths = ("examples/photo.sketch.png", "examples/photo.sketch.strip.png")
    assert all(f"wrote {path}\n" in said for path in paths)
    with Image.open(paths[0]) as picture, Image.open(paths[1]) as strip:
        assert strip.width > 3.5 * picture.width  # four panels


@pytest.mark.parametrize(("where", "limit"), _MEGABYTES.items())
def test_what_the_repository_carries_is_small(where, limit):
    files = [path for path in (ROOT / where).rglob("*") if path.is_file()]
    assert files
    assert sum(path.stat().st_size for path in files) <= limit * 1_000_000
