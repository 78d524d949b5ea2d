"""Bad input on the real command: its exit code, one message, no traceback, nothing old lost."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.contracts.tokens import write_token_set
from tests.runtime.tiny_bundle import build, domain_set

OLD = b"an older result that nobody may lose"
INVERT = ["invert", "photo.jpg", "--bundle", "tiny", "--threads", "1", "--out", "old.png"]
INVERT += ["--domain", "sketch"]


@dataclass
class Case:
    """One bad input.

    Attributes:
        code: Expected exit code.
        words: What the message must say.
        args: Command line, run in a folder that holds photo.jpg, the bundle tiny and old.png.
        prepare: Makes the bad thing.
    """

    code: int
    words: tuple[str, ...]
    args: list[str]
    prepare: Callable[[Path], None] = lambda folder: None


def photo(name: str) -> list[str]:
    return ["invert", name, *INVERT[2:]]


def domain(text: str) -> list[str]:
    return [*INVERT[:-1], text]


def put(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data)


def truncate(folder: Path) -> None:
    data = (folder / "photo.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) * 2 // 3])


def claim_huge(folder: Path) -> None:
    data = bytearray((folder / "photo.jpg").read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (30000).to_bytes(2, "big") * 2
    assert len(data) < 1400
    (folder / "huge.jpg").write_bytes(data)


def foreign(folder: Path) -> None:
    write_token_set(folder / "foreign.tokens", domain_set("sketch", fingerprint="6" * 64))


def corrupt_tokens(folder: Path) -> None:
    flip(folder / "tiny/domains/sketch.tokens", folder / "bad.tokens")


def flip(source: Path, target: Path | None = None) -> None:
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    (target or source).write_bytes(data)


def newer_bundle(folder: Path) -> None:
    manifest = folder / "tiny/manifest.json"
    value = json.loads(manifest.read_bytes())
    value["schema_version"] = 99
    manifest.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))


def link_in_bundle(folder: Path) -> None:
    graph = folder / "tiny/mapping.onnx"
    graph.rename(folder / "elsewhere.onnx")
    graph.symlink_to(folder / "elsewhere.onnx")


CASES = {
    "no arguments": Case(2, ("PHOTO",), ["invert"]),
    "no verb of that name": Case(2, ("invrt", "invert"), ["invrt"]),
    "no option of that name": Case(2, ("--bundel",), [*INVERT, "--bundel", "x"]),
    "missing photo": Case(2, ("gone.jpg", "no such"), photo("gone.jpg")),
    "empty photo": Case(3, ("empty.jpg", "empty"), photo("empty.jpg"), put("empty.jpg", b"")),
    "truncated photo": Case(3, ("cut.jpg", "ends early"), photo("cut.jpg"), truncate),
    "not an image": Case(3, ("page.jpg", "HTML"), photo("page.jpg"), put("page.jpg", b"<html>")),
    "another format": Case(3, ("a.gif", "a GIF"), photo("a.gif"), put("a.gif", b"GIF89a" * 9)),
    "huge header": Case(4, ("huge.jpg", "30000 x 30000"), photo("huge.jpg"), claim_huge),
    "FIFO": Case(3, ("pipe", "FIFO"), photo("pipe"), lambda folder: os.mkfifo(folder / "pipe")),
    "folder as photo": Case(2, ("tiny", "folder"), photo("tiny")),
    "device": Case(3, ("/dev/zero", "device"), photo("/dev/zero")),
    "control characters": Case(2, ("\\x1b[31m",), photo("gone\x1b[31m.jpg")),
    "unknown domain": Case(2, ("skech", "oil, sketch", "did you mean sketch"), domain("skech")),
    "missing token file": Case(2, ("no/x.tokens", "oil, sketch"), domain("no/x.tokens")),
    "strength that is no number": Case(2, ("sketch=much",), domain("sketch=much")),
    "strength that overflows": Case(7, ("not finite",), domain("sketch=1e38")),
    "foreign token set": Case(5, ("another generator",), domain("foreign.tokens"), foreign),
    "corrupt token set": Case(3, ("bad.tokens",), domain("bad.tokens"), corrupt_tokens),
    "photo as token set": Case(3, ("photo.jpg",), domain("photo.jpg")),
    "missing bundle": Case(2, ("gone", "no such folder"), [*INVERT, "--bundle", "gone"]),
    "folder that is no bundle": Case(
        3,
        ("empty", "not a bundle"),
        [*INVERT, "--bundle", "empty"],
        lambda folder: (folder / "empty").mkdir(),
    ),
    "damaged graph": Case(
        3,
        ("synthesis.onnx", "export it again"),
        INVERT,
        lambda folder: flip(folder / "tiny/synthesis.onnx"),
    ),
    "incomplete bundle": Case(
        3,
        ("refiner.onnx", "missing"),
        INVERT,
        lambda folder: (folder / "tiny/refiner.onnx").unlink(),
    ),
    "stranger in the bundle": Case(
        3, ("extra.onnx", "not listed"), INVERT, put("tiny/extra.onnx", b"x")
    ),
    "link in the bundle": Case(4, ("mapping.onnx", "symbolic link"), INVERT, link_in_bundle),
    "newer bundle": Case(5, ("schema 99", "update"), INVERT, newer_bundle),
    "unknown provider": Case(2, ("cdua", "cuda"), [*INVERT, "--provider", "cdua"]),
    "absent provider": Case(6, ("coreml", "found cpu"), [*INVERT, "--provider", "coreml"]),
    "output would replace the photo": Case(2, ("input",), [*INVERT, "--out", "photo.jpg"]),
    "saved tokens would replace the photo": Case(
        2, ("input photo.jpg",), [*INVERT, "--save-tokens", "./photo.jpg"]
    ),
    "saved tokens would replace the domain": Case(
        2,
        ("input own.tokens",),
        [*INVERT, "--domain", "own.tokens", "--save-tokens", "own.tokens"],
        lambda folder: shutil.copy(folder / "tiny/domains/sketch.tokens", folder / "own.tokens"),
    ),
    "output of unknown format": Case(2, (".png",), [*INVERT, "--out", "x.bmp"]),
    "output in no folder": Case(6, ("gone/x.png", "folder"), [*INVERT, "--out", "gone/x.png"]),
    "output folder is a file": Case(
        2, ("old.png",), ["invert", "photo.jpg", "photo.jpg", *INVERT[2:]]
    ),
    "output folder inside a file": Case(
        6, ("old.png/new", "cannot be made"), [*INVERT, "--out", "old.png/new/"]
    ),
    "two results of one name": Case(
        2,
        ("photo.sketch.png",),
        ["invert", "photo.jpg", "./photo.jpg", *INVERT[2:6], "-d", "sketch"],
    ),
    "one of two photos": Case(
        8,
        ("gone.jpg", "1 of 2"),
        ["invert", "photo.jpg", "gone.jpg", *INVERT[2:6], "--out", "results"],
    ),
    "seeds that are none": Case(2, ("--seed 8-1",), ["synth", "--seed", "8-1", *INVERT[2:]]),
    "domain instead of a saved picture": Case(
        2,
        ("not an inverted picture",),
        ["synth", "--tokens", "tiny/domains/sketch.tokens", *INVERT[2:]],
    ),
    "truncation that is no number": Case(
        2, ("truncation",), ["synth", "--truncation", "nan", *INVERT[2:]]
    ),
    "seed and tokens": Case(2, ("--seed",), ["synth", "--seed", "1", "--tokens", "x.tokens"]),
    "info of a damaged token set": Case(3, ("bad.tokens",), ["info", "bad.tokens"], corrupt_tokens),
    "info of a damaged bundle": Case(
        3, ("mapping.onnx",), ["info", "tiny"], lambda folder: flip(folder / "tiny/mapping.onnx")
    ),
}
IN_A_PROCESS = [
    "missing photo",
    "empty photo",
    "truncated photo",
    "not an image",
    "huge header",
    "FIFO",
    "device",
    "unknown domain",
    "foreign token set",
    "corrupt token set",
    "damaged graph",
    "incomplete bundle",
    "absent provider",
    "output in no folder",
    "one of two photos",
]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The bundle, written once: its writer flushes every file to disk."""
    return build(tmp_path_factory.mktemp("template") / "tiny")


@pytest.fixture
def folder(template, tmp_path, monkeypatch):
    """A folder with a photo, a bundle and an older result."""
    shutil.copytree(template, tmp_path / "tiny")
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 90, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=60)
    for name in ("old.png", "old.strip.png", "photo.sketch.png"):
        (tmp_path / name).write_bytes(OLD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(case: Case, folder: Path, photo_before: bytes, code: int, out: str, err: str) -> None:
    assert code == case.code, err
    assert "Traceback" not in err and "site-packages" not in err and "\x1b" not in err
    for word in case.words:
        assert word in err
    usage_lines = 3 if err.startswith("Usage:") else 0
    assert 1 <= len(err.strip().splitlines()) <= 3 + usage_lines
    if case.code != 8:
        assert out == ""
    assert (folder / "photo.jpg").read_bytes() == photo_before
    for name in ("old.png", "old.strip.png", "photo.sketch.png"):
        assert (folder / name).read_bytes() == OLD
    assert not list(folder.glob(".*"))  # nothing half-written is left


@pytest.mark.parametrize("name", CASES)
def test_bad_input_inside_this_process(name, folder, capsys):
    case = CASES[name]
    case.prepare(folder)
    before = (folder / "photo.jpg").read_bytes()
    with pytest.raises(SystemExit) as ending:
        run(group, "rs-run", case.args)
    check(case, folder, before, ending.value.code, *capsys.readouterr())


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_bad_input_on_the_real_command(name, folder):
    case = CASES[name]
    case.prepare(folder)
    before = (folder / "photo.jpg").read_bytes()
    done = rs_run(case.args)
    check(case, folder, before, done.returncode, done.stdout, done.stderr)


def rs_run(args: list[str], **options) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "rs_runtime.cli", *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        **options,
    )


def test_a_full_disk_loses_nothing(folder):
    import resource

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = rs_run(INVERT, preexec_fn=no_room)
    case = Case(6, ("old.png",), INVERT)
    check(case, folder, (folder / "photo.jpg").read_bytes(), done.returncode, "", done.stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(folder, capsys):
    (folder / "locked").mkdir(mode=0o500)
    with pytest.raises(SystemExit) as ending:
        run(group, "rs-run", [*INVERT, "--out", "locked/x.png"])
    assert ending.value.code == 6 and "locked/x.png" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error_message(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "rs_runtime.cli", "info", "tiny"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    process.stdout.close()
    with contextlib.closing(process.stderr):
        assert process.stderr.read() == b""
    assert process.wait(timeout=20) == 141


def test_debug_shows_the_traceback_wherever_it_stands(folder):
    for args in (["--debug", *photo("gone.jpg")], [*photo("gone.jpg"), "--debug"]):
        done = rs_run(args)
        assert done.returncode == 2 and "Traceback" in done.stderr
