"""README and docs: links lead somewhere, the marked commands are there, the first screen is one."""

import subprocess

import pytest

from tests.readme.pages import PAGES, README, ROOT, anchors, blocks, links, name

# The awk program of .ci/run: the text of the block after <!-- command: NAME -->.
_CI_SCRIPT = ROOT / ".ci" / "run"
_FIRST_SCREEN = 45


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_and_images_exist(page):
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        is_there = file.exists() and file.resolve().is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_the_scan_sees_links_images_and_anchors(tmp_path):
    page = tmp_path / "page.md"
    text = "# One *Two*: three\n![a](b.png) [c](d.md#e) [w](https://x.y)\n```\n[no](f)\n```\n"
    page.write_text(text)
    assert links(page) == ["b.png", "d.md#e"]
    assert anchors(page) == {"one-two-three"}


def _marked(mark: str) -> str:
    """A marked command as CI finds it: its own shell function, run by itself."""
    script = _CI_SCRIPT.read_text(encoding="utf-8")
    start = script.index("readme_command() {")
    function = script[start : script.index("\n}\n", start) + 2]
    call = f"{function}\nreadme_command {mark}"
    done = subprocess.run(["bash", "-c", call], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("mark", "must_hold"),
    [
        ("run", ('".[cpu]"', "rs-run invert examples/photo.jpg --domain sketch.tokens")),
        ("test", ('".[dev]"', "pytest")),
    ],
)
def test_ci_finds_the_marked_commands_and_each_is_one_line(mark, must_hold):
    text = _marked(mark)
    assert text.count("\n") == 1 and text.endswith("\n")
    assert all(part in text for part in must_hold)
    assert README.read_text(encoding="utf-8").count(f"<!-- command: {mark} -->") == 1


def test_ci_runs_the_marked_commands_and_nothing_in_their_place():
    script = _CI_SCRIPT.read_text(encoding="utf-8")
    for mark in ("run", "test"):
        assert f'eval "$(readme_command {mark})"' in script


def test_the_first_screen_has_all_that_a_visitor_needs():
    lines = README.read_text(encoding="utf-8").splitlines()

    def first(start: str, after: int = 0) -> int:
        found = [n for n, line in enumerate(lines, 1) if n > after and line.startswith(start)]
        assert found, f"no line starts with {start!r}"
        return found[0]

    title, image = first("# "), first("![")
    mark = first("<!-- command: run -->")
    command = mark + 2
    python, table = first("```python"), first("|")
    assert title == 1
    sentence = " ".join(line for line in lines[title : image - 1] if line)
    assert sentence.endswith(".") and sentence.count(". ") <= 1 and len(sentence) < 300
    assert title < image < mark < command < python < table <= _FIRST_SCREEN
    assert command <= 25 and "rs-run invert" in lines[command - 1]
    rows = sum(line.startswith("|") for line in lines[table - 1 : _FIRST_SCREEN])
    assert rows >= 4


def test_the_python_block_is_three_lines():
    (block,) = [block for block in blocks(README) if block.language == "python"]
    assert len([line for line in block.text.splitlines() if line]) <= 3
