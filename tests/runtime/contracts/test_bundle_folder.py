"""A bundle on disk: exactly the listed files, each with its bytes, and the old one never lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rs_runtime.contracts.bundle import Manifest, build_manifest, read_bundle, write_bundle
from rs_runtime.contracts.errors import MalformedFileError, UnsafeFileError, UsageError

Contents = dict[str, bytes]


@pytest.fixture
def bundle(tmp_path: Path, manifest: Manifest, contents: Contents) -> Path:
    """A bundle written without `write_bundle`, whose flushing to disk takes its time."""
    files = contents | {"manifest.json": build_manifest(manifest, contents).to_json()}
    for name, data in files.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "bundle"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_round_trip(bundle: Path, manifest: Manifest, contents: Contents) -> None:
    opened = read_bundle(bundle)
    assert opened.root == bundle
    assert opened.manifest.roles == manifest.roles
    assert {name: opened.read(name) for name in opened.manifest.files} == contents
    opened.verify()
    assert read_bundle(str(bundle)).manifest == opened.manifest


def test_written_twice_is_byte_equal(
    tmp_path: Path, bundle: Path, manifest: Manifest, contents: Contents
) -> None:
    before = snapshot(bundle)
    write_bundle(tmp_path / "other", manifest, dict(reversed(contents.items())))
    write_bundle(bundle, manifest, contents)
    assert snapshot(bundle) == snapshot(tmp_path / "other") == before
    assert sorted(os.listdir(tmp_path)) == ["bundle", "other"]


def test_a_newer_export_replaces_the_older(
    bundle: Path, manifest: Manifest, contents: Contents
) -> None:
    contents["graphs/synthesis.onnx"] = b"better"
    write_bundle(bundle, manifest, contents)
    assert read_bundle(bundle).read("graphs/synthesis.onnx") == b"better"


def test_only_listed_files_are_read(bundle: Path) -> None:
    opened = read_bundle(bundle)
    for name in ("graphs/other.onnx", "../x", "/etc/passwd", "manifest.json"):
        with pytest.raises(UsageError, match="has no file"):
            opened.read(name)


@pytest.mark.parametrize("name", ["graphs/synthesis.onnx", "domains/sketch.tokens"])
def test_missing_file(bundle: Path, name: str) -> None:
    opened = read_bundle(bundle)
    (bundle / name).unlink()
    for attempt in (lambda: read_bundle(bundle), lambda: opened.read(name)):
        with pytest.raises(
            MalformedFileError, match=f"(?s){name}: a file of the bundle .*missing"
        ) as caught:
            attempt()
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("size", [0, 8, 10])
def test_file_of_another_size(bundle: Path, size: int) -> None:
    opened = read_bundle(bundle)
    os.truncate(bundle / "graphs/synthesis.onnx", size)
    for attempt in (lambda: read_bundle(bundle), lambda: opened.read("graphs/synthesis.onnx")):
        with pytest.raises(MalformedFileError, match=f"wrong size\nfound {size} bytes, expected 9"):
            attempt()


def test_every_changed_byte_is_noticed(bundle: Path, contents: Contents) -> None:
    for name, data in contents.items():
        for i in range(len(data)):
            (bundle / name).write_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])
            opened = read_bundle(bundle)
            with pytest.raises(MalformedFileError, match=f"{name}: not the file that the manifest"):
                opened.read(name)
            with pytest.raises(MalformedFileError, match=name):
                opened.verify()
        (bundle / name).write_bytes(data)
    read_bundle(bundle).verify()


@pytest.mark.parametrize("name", ["extra", "graphs/extra.onnx", "new/deep/extra", ".DS_Store"])
def test_extra_file(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).touch()
    with pytest.raises(MalformedFileError, match="not listed in the bundle's manifest"):
        read_bundle(bundle)


def test_extra_folder(bundle: Path) -> None:
    (bundle / "empty").mkdir()
    with pytest.raises(MalformedFileError, match="empty: not listed"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["graphs/synthesis.onnx", "manifest.json", "graphs"])
@pytest.mark.parametrize("inside", [True, False])
def test_links_are_refused(tmp_path: Path, bundle: Path, name: str, inside: bool) -> None:
    opened = read_bundle(bundle)
    moved = bundle / "moved" if inside else tmp_path / "moved"
    shutil.move(bundle / name, moved)
    (bundle / name).symlink_to(moved)
    with pytest.raises((UnsafeFileError, MalformedFileError)) as caught:
        read_bundle(bundle)
    if name == "manifest.json" or not inside:
        assert caught.value.exit_code == 4
        assert "a symbolic link in a bundle" in str(caught.value)
    if name != "manifest.json":
        with pytest.raises(UnsafeFileError, match="a symbolic link in a bundle"):
            opened.read("graphs/synthesis.onnx")


def test_special_files_are_refused(bundle: Path) -> None:
    opened = read_bundle(bundle)
    path = bundle / "graphs" / "synthesis.onnx"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnsafeFileError, match="special file"):
        read_bundle(bundle)
    with pytest.raises(MalformedFileError, match="FIFO"):
        opened.read("graphs/synthesis.onnx")


def test_the_bundle_itself_may_be_reached_by_a_link(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    read_bundle(tmp_path / "link").verify()


def test_hard_links_are_accepted(tmp_path: Path, bundle: Path) -> None:
    os.link(bundle / "graphs" / "synthesis.onnx", tmp_path / "cached")
    read_bundle(bundle).verify()


@pytest.mark.parametrize("where", ["missing", "file", "nul", "empty"])
def test_no_bundle_at_all(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    path = f"{tmp_path}/a\0b" if where == "nul" else tmp_path / where
    error = MalformedFileError if where == "empty" else UsageError
    with pytest.raises(error):
        read_bundle(path)


def test_a_huge_manifest_is_not_read(bundle: Path) -> None:
    os.truncate(bundle / "manifest.json", 1 << 40)
    with pytest.raises(UnsafeFileError, match="too large for a manifest"):
        read_bundle(bundle)


def test_damaged_manifest(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    (bundle / "manifest.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedFileError, match=r"manifest\.json: not valid JSON"):
        read_bundle(bundle)


@pytest.mark.parametrize("damage", ["none", "file missing", "file cut"])
def test_a_bundle_is_replaced_even_when_damaged(
    bundle: Path, manifest: Manifest, contents: Contents, damage: str
) -> None:
    if damage == "file missing":
        (bundle / "graphs" / "refiner.onnx").unlink()
    elif damage == "file cut":
        os.truncate(bundle / "graphs" / "refiner.onnx", 1)
    write_bundle(bundle, manifest, contents)
    read_bundle(bundle).verify()


@pytest.mark.parametrize("mine", ["notes.txt", "graphs/mine.onnx"])
def test_a_folder_with_files_of_the_user_is_not_replaced(
    bundle: Path, manifest: Manifest, contents: Contents, mine: str
) -> None:
    (bundle / mine).write_text("mine")
    with pytest.raises(UsageError, match="would be lost"):
        write_bundle(bundle, manifest, contents)
    assert (bundle / mine).read_text() == "mine"
    web = bundle.parent / "web"
    web.mkdir()
    (web / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="would be lost"):
        write_bundle(web, manifest, contents)
    assert os.listdir(web) == ["manifest.json"]


def test_a_refused_manifest_leaves_the_old_bundle(
    tmp_path: Path, bundle: Path, manifest: Manifest, contents: Contents
) -> None:
    before = snapshot(bundle)
    contents.pop("graphs/refiner.onnx")
    with pytest.raises(UsageError):
        write_bundle(bundle, manifest, contents)
    assert snapshot(bundle) == before
    assert os.listdir(tmp_path) == ["bundle"]


def test_contracts_import_little() -> None:
    code = (
        "import sys, rs_runtime.contracts.bundle, rs_runtime.contracts.tokens;"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'cv2', 'PIL', 'openvino'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_trust_leaves_out_the_hash_alone(bundle: Path) -> None:
    name = "graphs/synthesis.onnx"
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(b"?" * len(data))
    with pytest.raises(MalformedFileError):
        read_bundle(bundle).read(name)
    assert read_bundle(bundle, trust=True).read(name) == b"?" * len(data)
    (bundle / name).write_bytes(data + b"?")
    with pytest.raises(MalformedFileError):
        read_bundle(bundle, trust=True)
