"""Aliens stand where persons stood and are none of them."""

import numpy as np
import pytest

from rs_train.portraits import caption, render, sample_scene
from rs_train.portraits.alien import as_alien
from rs_train.portraits.folder import RenderSettings, label
from rs_train.portraits.renderer import Rendering


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Rendering, Rendering]]:
    scenes = [sample_scene(5, index, extras=True) for index in range(4)]
    return [(render(scene, 64), render(scene, 64, "alien")) for scene in scenes]


def test_what_is_around_them_stays(pairs: list[tuple[Rendering, Rendering]]) -> None:
    for person, alien in pairs:
        both = person.masks["background"] & alien.masks["background"]
        assert both.mean() > 0.2
        change = np.abs(person.image[both].astype(int) - alien.image[both])
        assert np.median(change) <= 1 and change.mean() < 4


def test_heads_change_in_shape_and_colour(pairs: list[tuple[Rendering, Rendering]]) -> None:
    for person, alien in pairs:
        assert not alien.masks["hair"].any() and not alien.masks["extras"].any()
        assert alien.masks["eyes"].sum() > person.masks["eyes"].sum()
        skin = alien.masks["face"] & ~alien.masks["eyes"]
        red, green, blue = alien.image[skin].mean(axis=0)
        assert red < max(green, blue)
        eyes = alien.image[alien.masks["eyes"]].mean()
        assert eyes < 0.75 * alien.image[skin].mean()


def test_labels_are_the_aliens_and_parameters_the_persons() -> None:
    settings = (RenderSettings(1, 64, 5, domain, False, False) for domain in ("photo", "alien"))
    person, alien = (label(own, 0) for own in settings)
    assert alien["attributes"]["hair"] == "bald" and "bald alien" in alien["caption"]
    assert alien["landmarks"] != person["landmarks"]
    assert alien["parameters"] == person["parameters"]
    assert "person" in caption(as_alien(sample_scene(5, 0)))
