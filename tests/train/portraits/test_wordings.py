"""Looks in other words: true ones, with every part and every noun in use."""

import numpy as np
import pytest

from rs_train.portraits import COMPOSED, domain_style
from rs_train.portraits.looks import all_looks
from rs_train.portraits.wordings import Wording, draw_wording


def _drawn(name: str, count: int = 60) -> list[Wording]:
    rng = np.random.default_rng([3, COMPOSED.index(name)])
    return [draw_wording(domain_style(name), rng) for _ in range(count)]


@pytest.mark.parametrize("name", all_looks()[::5])
def test_wordings_are_true_and_various(name: str) -> None:
    style = domain_style(name)
    drawn = _drawn(name)
    assert all(wording.suits(style) for wording in drawn)
    assert len({wording.text for wording in drawn}) > 35
    assert f"{style.phrase} of a person" in {wording.text for wording in drawn}
    for wording in drawn:
        assert wording.text.startswith(("a ", "an "))
        assert "  " not in wording.text
        vowels = [word[0] in "aeiou" for word in wording.text.split()[1:2]]
        assert vowels == [wording.text.startswith("an ")]


def test_equal_texts_name_equal_parts() -> None:
    known: dict[str, object] = {}
    for name in COMPOSED[::7]:
        for wording in _drawn(name, 30):
            assert known.setdefault(wording.text, wording.parts) == wording.parts, wording.text


def test_a_wording_suits_the_looks_that_it_leaves_open() -> None:
    wording = Wording("a sepia drawing", {"palette": ("sepia",), "medium": ("chalk", "hatching")})
    suited = {name for name in COMPOSED if wording.suits(domain_style(name))}
    assert suited == {n for n in COMPOSED if n.startswith(("chalk-sepia", "hatching-sepia"))}
    assert not Wording("a person in a red shirt").suits(domain_style("oil"))
