"""What users write for a domain, and what it is taken for."""

from pathlib import Path

import pytest

from rs_runtime.contracts.errors import UsageError
from rs_runtime.domains import DomainRequest, parse_domain, resolve_domains

KNOWN = ["cartoon", "oil", "sketch"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("sketch", DomainRequest(None, "sketch")),
        ("sketch.tokens", DomainRequest(None, "sketch")),
        ("sketch=0.7", DomainRequest(None, "sketch", 0.7)),
        ("sketch.tokens=-1.5", DomainRequest(None, "sketch", -1.5)),
        ("oil=1e1", DomainRequest(None, "oil", 10.0)),
    ],
)
def test_names_of_the_bundle(text, request_):
    assert parse_domain(text, KNOWN) == request_


def test_an_existing_file_comes_first():
    Path("sketch.tokens").touch()
    Path("own=3.tokens").touch()
    Path("sub").mkdir()
    Path("sub/mine").touch()
    assert parse_domain("sketch.tokens", KNOWN).path == Path("sketch.tokens")
    assert parse_domain("sketch", KNOWN).path is None
    assert parse_domain("own=3.tokens", KNOWN) == DomainRequest(Path("own=3.tokens"), "own=3")
    expected = DomainRequest(Path("own=3.tokens"), "own=3", 0.5)
    assert parse_domain("own=3.tokens=0.5", KNOWN) == expected
    assert parse_domain("sub/mine=2", KNOWN) == DomainRequest(Path("sub/mine"), "mine", 2.0)


def test_a_folder_called_like_a_domain_is_in_nobodys_way():
    Path("sketch").mkdir()
    assert parse_domain("sketch", KNOWN) == DomainRequest(None, "sketch")


@pytest.mark.parametrize("text", ["skech", "sketc=0.5", "SKETCH", "sketch.token"])
def test_unknown_names_get_the_list_and_the_nearest(text):
    with pytest.raises(UsageError) as refusal:
        parse_domain(text, KNOWN)
    assert "cartoon, oil, sketch" in str(refusal.value)
    assert "did you mean sketch" in str(refusal.value)


@pytest.mark.parametrize("text", ["sketch=", "sketch=nan", "sketch=inf", "sketch=strong"])
def test_strengths_are_finite_numbers(text):
    with pytest.raises(UsageError, match="finite number"):
        parse_domain(text, KNOWN)


@pytest.mark.parametrize("text", ["", "=1", "gone/sketch.tokens", "\0", "a\0b=2"])
def test_odd_names_are_refused(text):
    with pytest.raises(UsageError, match="neither"):
        parse_domain(text, KNOWN)


def test_lists_pairs_and_strengths_multiply():
    Path("own.tokens").touch()
    pairs = resolve_domains(
        ["sketch", ("oil", 0.5), ("sketch=0.5", 3), Path("own.tokens")],
        KNOWN,
        by_name=lambda name: f"bundle {name}",
        by_path=lambda path: f"file {path}",
    )
    assert pairs == [
        ("bundle sketch", 1.0),
        ("bundle oil", 0.5),
        ("bundle sketch", 1.5),
        ("file own.tokens", 1.0),
    ]
    single = resolve_domains(("oil", 2), KNOWN, by_name=str, by_path=str)
    assert single == [("oil", 2.0)]
    assert resolve_domains(None, KNOWN, by_name=str, by_path=str) == []


@pytest.mark.parametrize("domains", [3, [3], [None]])
def test_other_types_are_refused(domains):
    with pytest.raises(UsageError, match="not a domain"):
        resolve_domains(domains, KNOWN, by_name=str, by_path=str)


def test_labels_name_strengths_only_when_given():
    assert parse_domain("sketch", KNOWN).label == "sketch"
    assert parse_domain("sketch=0.70", KNOWN).label == "sketch=0.7"
