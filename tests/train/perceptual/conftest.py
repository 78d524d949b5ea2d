"""A handful of labelled pictures with visible differences."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_train.perceptual.labelled import LabelledPortraits
from rs_train.portraits import PARAMETER_NAMES

WORDS = ("red", "green", "blue")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures 32 x 32: 3 people (a colour each), 2 domains (stripes or none)."""
    path = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(12):
        person, domain = index % 3, index // 3 % 2
        pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
        pixels[..., person] += 150
        if domain:
            pixels[::4] = 0
        medium = ("photo", "sketch")[domain]
        Image.fromarray(pixels).save(path / f"{index:06d}.png")
        rows.append(
            {
                "file": f"{index:06d}.png",
                "domain": medium,
                "identity": 1000 + person,
                "caption": f"a {medium} of a smiling person in {WORDS[person]}",
                "attributes": {
                    "glasses": person % 2,
                    "beard": ("none", "none", "full")[person],
                    "hair": ("bald", "bob", "bun")[person],
                },
                "parameters": [person / 2] * len(PARAMETER_NAMES),
            }
        )
    (path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(folder: Path) -> LabelledPortraits:
    """The folder as a dataset."""
    return LabelledPortraits([folder], 32)
