"""Labelled folders and what is said about broken ones."""

import shutil
from pathlib import Path

import pytest

from rs_runtime.contracts.errors import MalformedFileError, UsageError
from rs_train.perceptual.labelled import LabelledPortraits
from rs_train.perceptual.templates import TEMPLATES, fill_templates, shortened


def test_labels_follow_the_pictures(data: LabelledPortraits) -> None:
    labels = data.labels
    assert labels.domains == ("photo", "sketch")
    assert labels.identity.tolist() == [0, 1, 2] * 4
    assert labels.domain.tolist() == [0, 0, 0, 1, 1, 1] * 2
    person = data.images([4])[0].mean(dim=(1, 2)).argmax()
    assert person == labels.identity[4]
    assert data.batch([4, 1])["index"].tolist() == [4, 1]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_picture_without_label_is_named(copy: Path) -> None:
    lines = (copy / "labels.jsonl").read_text().splitlines()
    (copy / "labels.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(MalformedFileError, match=r"000011\.png"):
        LabelledPortraits([copy], 32)


def test_a_missing_field_is_named(copy: Path) -> None:
    text = (copy / "labels.jsonl").read_text().replace('"caption"', '"title"')
    (copy / "labels.jsonl").write_text(text)
    with pytest.raises(MalformedFileError, match="caption"):
        LabelledPortraits([copy], 32)


def test_a_folder_without_labels_is_refused(copy: Path) -> None:
    (copy / "labels.jsonl").unlink()
    with pytest.raises(UsageError, match=r"labels\.jsonl"):
        LabelledPortraits([copy], 32)


@pytest.mark.parametrize(
    ("caption", "brief", "anyone"),
    [
        (
            "a photo of a smiling bald person with glasses and a goatee",
            "a photo of a smiling bald person",
            "a photo of a person",
        ),
        (
            "an oil painting of a calm person, wearing a hat",
            "an oil painting of a calm person",
            "an oil painting of a person",
        ),
        ("a sketch of a person", "a sketch of a person", "a sketch of a person"),
        (
            "a cartoon with ink outlines of a calm person with glasses",
            "a cartoon with ink outlines of a calm person",
            "a cartoon with ink outlines of a person",
        ),
    ],
)
def test_shortened_captions(caption: str, brief: str, anyone: str) -> None:
    assert shortened(caption) == (brief, anyone)


def test_templates_keep_the_text() -> None:
    texts = fill_templates("an owl")
    assert texts[0] == "an owl"
    assert len(set(texts)) == len(TEMPLATES)
    assert all("an owl" in text for text in texts)
