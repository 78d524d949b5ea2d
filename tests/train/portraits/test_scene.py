"""Scenes: seeds, identities, parameters, words."""

import numpy as np
import pytest

from rs_train.portraits import DOMAINS, PARAMETER_NAMES, attributes, caption, parameters
from rs_train.portraits import sample_scene as sample
from rs_train.portraits.scene import IDENTITY_NAMES, RANGES

SCENES = [sample(3, i) for i in range(300)]


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    assert sample(3, 7) == SCENES[7]
    assert sample(4, 7) != SCENES[7]
    assert sample(3, 8) != SCENES[7]


def test_every_value_lies_in_its_range() -> None:
    for scene in SCENES:
        assert tuple(scene.values) and set(scene.values) == set(RANGES)
        vector = parameters(scene)
        assert vector.shape == (len(PARAMETER_NAMES),)
        assert vector.dtype == np.float32
        assert vector.min() >= 0
        assert vector.max() <= 1


def test_parameters_vary() -> None:
    spread = np.std([parameters(scene) for scene in SCENES], axis=0)
    assert spread.min() > 0.05, PARAMETER_NAMES[int(spread.argmin())]


def test_pictures_of_one_person_share_identity_and_nothing_else() -> None:
    first, second = sample(3, 1, identity=42), sample(3, 2, identity=42)
    assert first.identity == second.identity == 42
    assert all(first[name] == second[name] for name in IDENTITY_NAMES)
    others = [name for name in PARAMETER_NAMES if name not in IDENTITY_NAMES]
    assert sum(first[name] != second[name] for name in others) > len(others) - 5
    assert any(first[name] != sample(3, 1, identity=43)[name] for name in IDENTITY_NAMES)


def test_extras_add_one_or_two_things_and_change_nothing_else() -> None:
    for index in range(60):
        plain, extended = sample(3, index), sample(3, index, extras=True)
        assert plain.extras == ()
        assert 1 <= len(extended.extras) <= 2
        assert parameters(plain).tobytes() == parameters(extended).tobytes()
        assert (plain.hair, plain.glasses, plain.noise_seed) == (
            extended.hair,
            extended.glasses,
            extended.noise_seed,
        )


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_captions_say_what_is_there(domain: str) -> None:
    for scene in SCENES:
        text, labels = caption(scene, domain), attributes(scene)
        assert text.startswith(DOMAINS[domain].phrase)
        assert ("glasses" in text) == scene.glasses == bool(labels["glasses"])
        assert ("bald" in text) == (scene.hair == "bald")
        assert str(labels["clothes_colour"]) in text
        assert ("smiling" in text) == (labels["expression"] == "smiling")


def test_captions_name_the_extras() -> None:
    scene = next(s for s in (sample(3, i, extras=True) for i in range(99)) if "hat" in s.extras)
    assert "wearing a hat" in caption(scene)
    assert "hat" in str(attributes(scene)["extras"])
