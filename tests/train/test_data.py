"""Folders and zips of pictures: bounded memory, damaged pictures named and left out."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    UnsafeFileError,
    UsageError,
)
from rs_train.data import ImageFolder
from rs_train.inverters.mixture import Mixture
from rs_train.picture_files import ZipFiles, open_pictures

SIZE = 8


def png(level: int, shape: tuple[int, int] = (SIZE, SIZE)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*shape, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def entries() -> dict[str, bytes]:
    return {f"{n % 3}/{n:02d}.png": png(n) for n in range(12)} | {"notes.txt": b"no picture"}


@pytest.fixture
def folder(tmp_path: Path, entries: dict[str, bytes]) -> Path:
    for name, data in entries.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "folder"


def levels(pictures: ImageFolder, indices: list[int]) -> list[int]:
    return pictures.pixels(indices)[:, 0, 0, 0].tolist()


def test_a_zip_is_its_folder(tmp_path: Path, folder: Path, entries: dict[str, bytes]):
    archive = write_zip(tmp_path / "pictures.zip", entries)
    inside, packed = ImageFolder(folder, SIZE), ImageFolder(archive, SIZE)
    order = list(range(len(inside)))
    assert len(packed) == 12 and open_pictures(archive).names == open_pictures(folder).names
    assert levels(packed, order) == levels(inside, order) == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_the_cache_is_bounded_and_changes_no_pixel(folder: Path, monkeypatch: pytest.MonkeyPatch):
    pictures = ImageFolder(folder, SIZE, cache_bytes=5 * 3 * SIZE * SIZE)
    whole = ImageFolder(folder, SIZE)
    order = [3, 1, 11, 3, 7, 0, 2, 5, 6]
    for _ in range(2):
        assert levels(pictures, order) == levels(whole, order)
    assert pictures._kept.nbytes == 5 * 3 * SIZE * SIZE
    decoded: list[int] = []
    decode = ImageFolder._decode
    monkeypatch.setattr(
        ImageFolder, "_decode", lambda own, file: decoded.append(file) or decode(own, file)
    )
    pictures.batch(order)
    assert len(decoded) == len(set(order)) - 5  # what is kept is not decoded again, nor twice


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_damaged_pictures_are_named_and_replaced(
    kind: str, tmp_path: Path, folder: Path, entries: dict[str, bytes], capsys
):
    entries["0/03.png"] = entries["0/03.png"][:-20]
    entries["2/11.png"] = b"<html>"
    if kind == "zip":
        source = write_zip(tmp_path / "pictures.zip", entries)
    else:
        source = folder
        for name in ("0/03.png", "2/11.png"):
            (folder / name).write_bytes(entries[name])
    pictures = ImageFolder(source, SIZE, flip=True)
    batch = pictures.batch([0, 1, 11, 12 + 1])
    assert batch["index"].tolist() == [0, 2, 0, 12 + 2]
    found = ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert found == [0, 6, 0, 6]
    pictures.batch([1, 1])
    told = capsys.readouterr().err
    assert told.count("03.png") == 1 and told.count("11.png") == 1 and "2 damaged" in told
    with pytest.raises(MalformedFileError, match=r"03\.png"):
        pictures.images([1])
    mixed = Mixture({source: 1.0}, SIZE, flip=False).batch(list(range(12)))
    assert mixed["image"].isfinite().all()


def test_a_folder_of_ruins_is_refused(tmp_path: Path):
    for n in range(30):
        (tmp_path / f"{n:02d}.jpg").write_bytes(png(n)[: 40 if n % 2 else None])
    with pytest.raises(MalformedFileError, match="too many"):
        ImageFolder(tmp_path, SIZE).batch(list(range(30)))


def test_pictures_that_are_not_square_say_what_to_do(tmp_path: Path):
    (tmp_path / "wide.png").write_bytes(png(1, (8, 12)))
    with pytest.raises(UsageError, match="rs-train align"):
        ImageFolder(tmp_path, SIZE).batch([0])


@pytest.mark.parametrize(
    "name", ["../out.png", "/etc/out.png", "a\\..\\out.png", "C:out.png", "a/../../out.png"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str):
    with pytest.raises(UnsafeFileError, match="leads out"):
        ZipFiles(write_zip(tmp_path / "hostile.zip", {"good.png": png(1), name: png(2)}))


def test_compressed_zips_are_refused(tmp_path: Path, entries: dict[str, bytes]):
    packed = write_zip(tmp_path / "small.zip", entries, zipfile.ZIP_DEFLATED)
    with pytest.raises(IncompatibleError, match="zip -0"):
        ZipFiles(packed)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_that_no_packer_writes_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("a.png", png(2))
    with pytest.raises(MalformedFileError, match="one name"):
        ZipFiles(tmp_path / "twice.zip")
    (tmp_path / "no.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(MalformedFileError, match="zip"):
        ZipFiles(tmp_path / "no.zip")


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path):
    path = write_zip(tmp_path / "shared.zip", {f"{n}.png": bytes(5000) for n in range(3)})
    archive = zipfile.ZipFile(path, "a")
    for entry in archive.infolist():
        entry.header_offset = 0
    archive._didModify = True  # writes the directory again, all of it pointing to the first entry
    archive.start_dir = archive.infolist()[0].compress_size + 60
    archive.close()
    files = ZipFiles(path)
    with pytest.raises(MalformedFileError, match=r"1\.png"):
        files.read("1.png")


def test_a_damaged_entry_fails_alone(tmp_path: Path):
    path = write_zip(tmp_path / "pictures.zip", {"a.png": png(1), "b.png": png(2)})
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(data)
    files = ZipFiles(path)
    with pytest.raises(MalformedFileError, match=r"a\.png"):
        files.read("a.png")
    assert files.read("b.png") == png(2)


def test_nothing_there_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match="no such folder or zip"):
        open_pictures(tmp_path / "absent")
    with pytest.raises(UsageError, match="no pictures"):
        open_pictures(tmp_path)
