"""Manifests and bundles: C++ takes and refuses what Python does, for the same kind of reason."""

import copy
import json
import os
import random
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rs_runtime.contracts.bundle import Manifest, build_manifest, read_bundle
from rs_runtime.contracts.roles import MODEL_ROLES
from tests.cpp.checker import Checker, python_status, write_all
from tests.runtime.contracts import test_manifest as rules
from tests.runtime.contracts.conftest import contents, manifest, table  # noqa: F401
from tests.runtime.tiny_prompt import build_with_prompts

Contents = dict[str, bytes]
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2.0, 0.5, -0.0, 1e308, 2**31, 2**63, 2**64, 10**30, "", "x"),
    *("../x", "/x", "a\\b", "C:x", "a b", "é", "\u202e", "x" * 5000, [], {}, [[]], {"": 0}),
    *("dynamic", "float32", "synthesis", "0" * 64, "domains/sketch.tokens", [-1, 1], [True, 1]),
)
TEXTS: tuple[bytes, ...] = (
    *(b"", b"\xef\xbb\xbf", b"\0", b" ", b"\n", b",", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u"),
    *(b"\\ud800", b"\\u0000", b"\xff", b"\xc0\x80", b"NaN", b"1e999", b"-", b"01", b"1.", b".5"),
    *(b"1" * 400, b"[" * 40, b'"model":"base",', b"//", b"\x7f", b"1E+2", b"-0", b"\x1f"),
)


def damaged_texts(sound: bytes, count: int) -> list[bytes]:
    """Bends of the tree, and wounds of the text."""
    rng = random.Random(77)
    tree = json.loads(sound)
    files = []
    for i in range(count):
        if i % 2:
            at = rng.randrange(len(sound))
            gone = rng.choice((0, 0, 1, 4))
            files.append(sound[:at] + rng.choice(TEXTS) + sound[at + gone :])
            continue
        bent = copy.deepcopy(tree)
        place: Any = bent
        while True:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.85:
                place = place[key]
                continue
            break
        wound = rng.randrange(4)
        if wound == 0:
            del place[key]
        elif wound == 1 and isinstance(place, dict):
            place[rng.choice(("x", "../x", "graphs", "a b", "Graphs/refiner.onnx"))] = place[key]
        else:
            place[key] = rng.choice(VALUES)
        files.append(json.dumps(bent, sort_keys=True).encode())
    return files


def bent_by_rule(sound: bytes) -> list[bytes]:
    """The manifests of the reader's own tests."""
    (cases,) = (mark.args[1] for mark in rules.test_malformed.pytestmark)
    bends = [bend for bend, _ in cases]
    bends += [rules.put("schema_version", 2), rules.put("model", "three_stage")]
    for path in ("../x", "a/../../x", "/etc/passwd", "a\\x", "C:x", "..", "//x"):
        bends += [
            rules.file(path),
            rules.put(rules.GRAPH + ".file", path),
            rules.put("domains.sketch", path),
        ]
    files = []
    for bend in bends:
        tree = json.loads(sound)
        bend(tree)
        files.append(json.dumps(tree).encode())
    return files


@pytest.fixture
def files(manifest: Manifest, contents: Contents) -> Contents:  # noqa: F811
    """Every file of a sound bundle."""
    return contents | {"manifest.json": build_manifest(manifest, contents).to_json()}


def compare_manifests(checker: Checker, folder: Path, files: Sequence[bytes]) -> Counter[int]:
    paths = write_all(folder, files, ".json")
    verdicts: Counter[int] = Counter()
    for path, answer in zip(paths, checker.ask(f"manifest {p}" for p in paths), strict=True):
        data = path.read_bytes()
        expected = python_status(lambda data=data: Manifest.from_json(data, "manifest.json"))
        assert answer["status"] == expected, (data[:3000], answer)
        verdicts[expected] += 1
    return verdicts


def test_manifests(checker: Checker, tmp_path: Path, files: Contents) -> None:
    sound = files["manifest.json"]
    texts = [sound, *bent_by_rule(sound), *damaged_texts(sound, 900)]
    verdicts = compare_manifests(checker, tmp_path, texts)
    assert verdicts[0] >= 1 and verdicts[3] >= 600 and verdicts[4] >= 21 and verdicts[5] >= 2


def test_kinds_of_models(checker: Checker, tmp_path: Path, files: Contents) -> None:
    texts = []
    for kind, needed in MODEL_ROLES.items():
        tree = json.loads(files["manifest.json"])
        synthesis = tree["roles"]["synthesis"]
        # Roles and files that the model kind does not ask for are no fault.
        tree |= {"model": kind, "rank": 0}
        for role in (*needed, "text", "vision", "hypernetwork"):
            tree["roles"].setdefault(role, synthesis)
        entry = {"size": 2, "sha256": "0" * 64}
        for path in ("calibration.json", "prompt/settings.json", "prompt/tokenizer.json"):
            tree["files"][path] = entry
        texts.append(json.dumps(tree).encode())
        for role in needed:
            less = tree | {"roles": dict(tree["roles"]), "golden": []}
            del less["roles"][role]
            texts.append(json.dumps(less).encode())
    verdicts = compare_manifests(checker, tmp_path, texts)
    assert verdicts == {0: len(MODEL_ROLES), 3: sum(map(len, MODEL_ROLES.values()))}


@pytest.mark.nightly
def test_many_more_manifests(sanitized_checker: Checker, tmp_path: Path, files: Contents) -> None:
    sound = files["manifest.json"]
    texts = [sound, *bent_by_rule(sound), *damaged_texts(sound, 20_000)]
    compare_manifests(sanitized_checker, tmp_path, texts)


# ------------------------------------------------------------------------------ folders on disk


def _rewrite(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(edit((root / name).read_bytes()))


def _link(name: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        moved = root.parent / f"moved-{root.name}"
        shutil.move(root / name, moved)
        (root / name).symlink_to(moved)

    return damage


def _replace(name: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / name).unlink()
        make(root / name)

    return damage


def _socket(path: Path) -> None:
    here = os.getcwd()  # a socket's whole path may have a hundred characters only
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


GRAPH, TOKENS = "graphs/synthesis.onnx", "domains/sketch.tokens"
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "none": lambda root: None,
    "no manifest": lambda root: (root / "manifest.json").unlink(),
    "empty manifest": _rewrite("manifest.json", lambda d: b""),
    "half a manifest": _rewrite("manifest.json", lambda d: d[: len(d) // 2]),
    "huge manifest": lambda root: os.truncate(root / "manifest.json", 4_000_001),
    "manifest a folder": _replace("manifest.json", Path.mkdir),
    "manifest a fifo": _replace("manifest.json", os.mkfifo),
    "manifest a link": _link("manifest.json"),
    "missing": lambda root: (root / GRAPH).unlink(),
    "missing folder": lambda root: shutil.rmtree(root / "domains"),
    "shorter": _rewrite(GRAPH, lambda d: d[:-1]),
    "longer": _rewrite(GRAPH, lambda d: d + b"x"),
    "empty file": _rewrite(TOKENS, lambda d: b""),
    "other bytes": _rewrite(TOKENS, lambda d: d[:-1] + b"?"),
    "a file a folder": _replace(GRAPH, Path.mkdir),
    "a file a fifo": _replace(GRAPH, os.mkfifo),
    "a file a socket": _replace(GRAPH, _socket),
    "a file a link": _link(GRAPH),
    "a folder a link": _link("graphs"),
    "a dangling link": _replace(GRAPH, lambda path: path.symlink_to("nothing")),
    "a folder a file": lambda root: (shutil.rmtree(root / "domains"), (root / "domains").touch()),
    "extra": lambda root: (root / "notes.txt").touch(),
    "extra hidden": lambda root: (root / ".DS_Store").touch(),
    "extra deep": lambda root: (root / "graphs" / "extra").touch(),
    "extra folder": lambda root: (root / "empty").mkdir(),
    "extra link": lambda root: (root / "graphs" / "l").symlink_to("refiner.onnx"),
    "odd name": lambda root: (root / os.fsdecode(b"\xff\n")).touch(),
    "hard link": lambda root: os.link(root / GRAPH, root.parent / f"hard-{root.name}"),
    "unreadable name": lambda root: (root / "graphs" / "refiner.onnx").rename(root / "graphs/R"),
}


def test_folders(checker: Checker, tmp_path: Path, files: Contents) -> None:
    roots = []
    for i, damage in enumerate(DAMAGES.values()):
        root = tmp_path / str(i)
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        damage(root)
        roots.append(root)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(roots[0])
    roots += [tmp_path / "nothing", tmp_path / "file", tmp_path / "link"]
    verdicts: Counter[int] = Counter()
    answers = checker.ask(f"bundle {root}" for root in roots)
    names = [*DAMAGES, "nothing", "file", "link"]
    for name, root, answer in zip(names, roots, answers, strict=True):
        expected = python_status(lambda root=root: read_bundle(root).verify())
        assert answer["status"] == expected, (name, answer)
        verdicts[expected] += 1
    assert verdicts[0] == 3 and verdicts[2] == 2 and verdicts[3] >= 15 and verdicts[4] >= 7


def test_a_prompt_part_is_passed_over(checker: Checker, tmp_path: Path) -> None:
    """Its roles and files are hashed like all others, and not understood."""
    root = build_with_prompts(tmp_path / "bundle", tokenizer=b"of another library")
    (answer,) = checker.ask([f"bundle {root}"])
    assert answer["status"] == 0, answer
    (root / "prompt" / "tokenizer.json").write_bytes(b"of another person!")
    (answer,) = checker.ask([f"bundle {root}"])
    assert answer["status"] == 3
