"""The Markdown pages as data: code blocks, commands, links, headings."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (
    README,
    *(page for folder in ("docs", "examples") for page in sorted((ROOT / folder).rglob("*.md"))),
)
PROGRAMS = ("rs-run", "rs-train", "rs-export")
ELLIPSIS = "…"

_FENCE = re.compile(r"^```(\w*)\s*$")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced code block: page, first line of its text (1-based), language, text."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One call of a program of ours: where it stands, the program, its arguments."""

    page: Path
    line: int
    program: str
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line} {self.program} {' '.join(self.argv[:2])}"


def name(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    found: list[Block] = []
    language, first, inside = "", 0, False
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence and not inside:
            language, first, inside = fence[1], number + 1, True
        elif fence:
            text = "\n".join(lines[first - 1 : number - 1])
            found.append(Block(page, first, language, text))
            inside = False
    assert not inside, f"{name(page)}: a code block that does not end"
    return found


def commands(page: Path) -> list[Command]:
    """Calls of our programs in the shell blocks of a page, in order."""
    found = []
    for block in blocks(page):
        if block.language in ("sh", "bash"):
            for offset, line in enumerate(block.text.splitlines()):
                found += _calls(page, block.line + offset, line)
    return found


def _calls(page: Path, number: int, line: str) -> list[Command]:
    assert not line.rstrip().endswith("\\"), f"{name(page)}:{number}: a command over several lines"
    calls = []
    for part in re.split(r"&&|\|\||;|\|", line):
        words = shlex.split(part, comments=True)
        if words and Path(words[0]).name in PROGRAMS:
            calls.append(Command(page, number, Path(words[0]).name, tuple(words[1:])))
    return calls


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```\s*$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """Targets of all links and images that are not web addresses."""
    targets = _LINK.findall(prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What a link to one of the page's headings ends with, by GitHub's rule."""
    headings = re.findall(r"^#+ +(.+?)\s*$", prose(page), flags=re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def table_rows(page: Path) -> list[list[str]]:
    """Cells of all table rows of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]
