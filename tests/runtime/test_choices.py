"""What users write for a domain or an edit, and what it is taken for."""

from pathlib import Path

import pytest

from rs_runtime.choices import Choices, Request
from rs_runtime.contracts.directions import Direction
from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import TokenSet

KNOWN = ["cartoon", "oil", "sketch"]
DOMAINS = Choices(
    "domain",
    TokenSet,
    ".tokens",
    KNOWN,
    by_name=lambda name: f"bundle {name}",
    by_path=lambda path: f"file {path}",
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("sketch", Request(None, "sketch")),
        ("sketch.tokens", Request(None, "sketch")),
        ("sketch=0.7", Request(None, "sketch", 0.7)),
        ("sketch.tokens=-1.5", Request(None, "sketch", -1.5)),
        ("oil=1e1", Request(None, "oil", 10.0)),
    ],
)
def test_names_of_the_bundle(text, request_):
    assert DOMAINS.parse(text) == request_


def test_an_existing_file_comes_first():
    Path("sketch.tokens").touch()
    Path("own=3.tokens").touch()
    Path("sub").mkdir()
    Path("sub/mine").touch()
    assert DOMAINS.parse("sketch.tokens").path == Path("sketch.tokens")
    assert DOMAINS.parse("sketch").path is None
    assert DOMAINS.parse("own=3.tokens") == Request(Path("own=3.tokens"), "own=3")
    expected = Request(Path("own=3.tokens"), "own=3", 0.5)
    assert DOMAINS.parse("own=3.tokens=0.5") == expected
    assert DOMAINS.parse("sub/mine=2") == Request(Path("sub/mine"), "mine", 2.0)


def test_a_folder_called_like_a_domain_is_in_nobodys_way():
    Path("sketch").mkdir()
    assert DOMAINS.parse("sketch") == Request(None, "sketch")


@pytest.mark.parametrize("text", ["skech", "sketc=0.5", "SKETCH", "sketch.token"])
def test_unknown_names_get_the_list_and_the_nearest(text):
    with pytest.raises(UsageError) as refusal:
        DOMAINS.parse(text)
    assert "cartoon, oil, sketch" in str(refusal.value)
    assert "did you mean sketch" in str(refusal.value)


@pytest.mark.parametrize("text", ["sketch=", "sketch=nan", "sketch=inf", "sketch=strong"])
def test_strengths_are_finite_numbers(text):
    with pytest.raises(UsageError, match="finite number"):
        DOMAINS.parse(text)


@pytest.mark.parametrize("text", ["", "=1", "gone/sketch.tokens", "\0", "a\0b=2"])
def test_odd_names_are_refused(text):
    with pytest.raises(UsageError, match="neither"):
        DOMAINS.parse(text)


def test_lists_pairs_and_strengths_multiply():
    Path("own.tokens").touch()
    pairs = DOMAINS.resolve(["sketch", ("oil", 0.5), ("sketch=0.5", 3), Path("own.tokens")])
    assert pairs == [
        ("bundle sketch", 1.0),
        ("bundle oil", 0.5),
        ("bundle sketch", 1.5),
        ("file own.tokens", 1.0),
    ]
    assert DOMAINS.resolve(("oil", 2)) == [("bundle oil", 2.0)]
    assert DOMAINS.resolve(None) == []


@pytest.mark.parametrize("domains", [3, [3], [None]])
def test_other_types_are_refused(domains):
    with pytest.raises(UsageError, match="not a domain"):
        DOMAINS.resolve(domains)


def test_labels_name_strengths_only_when_given():
    assert DOMAINS.parse("sketch").label == "sketch"
    assert DOMAINS.parse("sketch=0.70").label == "sketch=0.7"


def test_edits_are_named_like_domains():
    edits = Choices("edit", Direction, ".direction", ["smile"], by_name=str, by_path=str)
    Path("mine.direction").touch()
    assert edits.resolve(["smile=1.5", "mine.direction=-2"]) == [
        ("smile", 1.5),
        ("mine.direction", -2.0),
    ]
    with pytest.raises(UsageError, match=r"neither a \.direction file nor an edit of the bundle"):
        edits.parse("sketch")


def test_each_sample_may_have_its_own_list():
    assert DOMAINS.per_sample("oil", 2) == [[("bundle oil", 1.0)]] * 2
    assert DOMAINS.per_sample([["oil"], []], 2) == [[("bundle oil", 1.0)], []]
    with pytest.raises(UsageError, match="each sample needs its own list of domains"):
        DOMAINS.per_sample([["oil"]], 2)
