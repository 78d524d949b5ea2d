"""Composed looks: names, words, and what the held-out ones are made of."""

from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest

from rs_runtime.contracts.errors import UsageError
from rs_train.portraits import COMPOSED, DOMAINS, caption, domain_style, render, sample_scene
from rs_train.portraits.looks import HELD_OUT, SEEN, all_looks
from rs_train.portraits.media import LINES, MEDIA
from rs_train.portraits.tones import LIGHTS, PALETTES

PARTS = {"medium": MEDIA, "palette": PALETTES, "line": LINES, "light": LIGHTS}


def test_every_combination_of_the_renderers_parts_has_a_name() -> None:
    assert len(set(COMPOSED)) == len(MEDIA) * len(PALETTES) * len(LINES) * len(LIGHTS)
    styles = [asdict(domain_style(name)) for name in COMPOSED]
    for part, known in PARTS.items():
        assert {style[part] for style in styles} == set(known)
    assert len({style["phrase"] for style in styles}) == len(COMPOSED)
    assert not set(COMPOSED) & set(DOMAINS)


def test_a_composed_look_says_its_parts() -> None:
    style = domain_style("chalk-sepia-ink-dramatic")
    assert style.phrase == "a chalk drawing in sepia tones with ink outlines under dramatic light"
    assert caption(sample_scene(1, 0), "chalk-sepia-ink-dramatic").startswith(style.phrase + " of")
    assert domain_style("oil") is DOMAINS["oil"]


@pytest.mark.parametrize(
    "name", ["mosaic", "chalk-sepia-ink", "sepia-chalk-ink-soft", "", "a-b-c-d"]
)
def test_another_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="MEDIUM-PALETTE-LINE-LIGHT"):
        domain_style(name)


def test_held_out_looks_combine_seen_parts_anew() -> None:
    assert len(SEEN) == 24
    assert len(HELD_OUT) == 12
    assert len(set(all_looks())) == 36
    assert set(all_looks()) <= set(COMPOSED)
    seen = [domain_style(name) for name in SEEN]
    for look in map(domain_style, HELD_OUT):
        for part in PARTS:
            assert any(getattr(look, part) == getattr(other, part) for other in seen), look
        assert (look.medium, look.palette) not in {(o.medium, o.palette) for o in seen}
    named = {(s.medium, s.palette, s.line, s.light) for s in DOMAINS.values()}
    assert not named & {tuple(name.split("-")) for name in all_looks()}


def test_looks_differ_visibly_and_show_the_same_scene() -> None:
    scenes = [sample_scene(1, index) for index in (88, 52)]
    pictures = {}
    for name in all_looks():
        renderings = [render(scene, 48, name) for scene in scenes]
        pictures[name] = np.stack([r.image for r in renderings]).astype(int)
        for scene, rendering in zip(scenes, renderings, strict=True):
            assert np.array_equal(rendering.masks["face"], render(scene, 48).masks["face"])
    for first, second in combinations(pictures, 2):
        assert np.abs(pictures[first] - pictures[second]).mean() > 6, (first, second)
