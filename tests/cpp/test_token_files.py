"""Token sets: C++ takes and refuses the files that Python does, and writes the same bytes."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet, encode_token_set, read_token_set
from tests.cpp.checker import Checker, python_status, write_all
from tests.runtime.contracts import test_token_headers as headers
from tests.runtime.contracts import test_token_mutants as mutants

FORGED_TABLE = "table 5 4:4 8:3"
MUTANT_TABLE = "table 3 4:2"


def forgeries() -> list[bytes]:
    """Files that each break one rule, with a right hash."""
    files = []
    for bend, _ in headers.RULES.values():
        forgery = headers.Forgery()
        bend(forgery)
        files.append(forgery.build())
    for version in ("0.9", "1.7", "01.0", "1.00000", "2.0", "1", "1.", ".1", "1.0.0", "1.0\n"):
        forgery = headers.Forgery()
        forgery.metadata["version"] = version
        files.append(forgery.build())
    for name in (
        "Zoë",
        " a",
        "a.",
        "…",
        "名前",
        "a/b",
        "x" * 64,
        "x" * 65,
        "",
        "a\u0301",
        "٣",
        "½",
    ):
        forgery = headers.Forgery()
        forgery.metadata["name"] = name
        files.append(forgery.build())
    return files


def damaged(count: int) -> list[bytes]:
    sound = mutants.seeds()
    rng = random.Random(410)
    files = []
    for i in range(count):
        changed = mutants.mutate(sound[i % 3], sound[rng.randrange(3)], rng)
        if i % 4 == 3:
            changed = mutants.mutate(sound[i % 3], changed or sound[i % 3], rng)
        files.append(changed)
    return files


def compare(
    checker: Checker,
    folder: Path,
    files: Sequence[bytes],
    table: LayerTable,
    setting: str,
    fingerprint: str,
) -> Counter[int]:
    """Demands one verdict of both readers, and that what is accepted is written again."""
    paths = write_all(folder, files, ".tokens")
    requests = [setting, f"fingerprint {fingerprint}", *(f"tokens {path}" for path in paths)]
    verdicts: Counter[int] = Counter()
    answers = checker.ask(requests)[2:]
    for path, answer in zip(paths, answers, strict=True):
        expected = python_status(
            lambda path=path: read_token_set(path, table=table, fingerprint=fingerprint)
        )
        assert answer["status"] == expected, (path.read_bytes(), answer)
        verdicts[expected] += 1
        if expected == 0 and b'version\\":\\"1.0' in path.read_bytes():
            assert answer["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    return verdicts


def test_every_rule_is_the_same_rule(checker: Checker, tmp_path: Path) -> None:
    verdicts = compare(checker, tmp_path, forgeries(), headers.TABLE, FORGED_TABLE, "f0" * 32)
    assert verdicts[3] >= 80 and verdicts[5] >= 3 and verdicts[0] >= 5


def test_damaged_files(checker: Checker, tmp_path: Path) -> None:
    files = [*mutants.seeds(), *damaged(600)]
    verdicts = compare(checker, tmp_path, files, mutants.TABLE, MUTANT_TABLE, mutants.FINGERPRINT)
    assert verdicts[0] >= 3 and verdicts[3] >= 570


def test_sets_are_written_as_python_writes_them(checker: Checker, tmp_path: Path) -> None:
    table = LayerTable.from_channels({4: 7, 8: 5, 16: 3}, 6)
    rng = np.random.default_rng(3)
    values = [0.0, -0.0, 1e-8, 6e-8, 2**-14, 65504.0, -65504.0, 0.1, 1 / 3, 2049.0, 2051.0]
    files = []
    for dtype in ("F16", "F32"):
        for name in ("a", "Zoë 名 ٣", "-+_."[:3] + "x"):
            offsets = {c.name: rng.normal(size=c.in_channels) for c in table.layers}
            offsets["b4.conv1"] = np.asarray(values[: len(offsets["b4.conv1"])])
            files.append(
                encode_token_set(
                    TokenSet(
                        kind="domain",
                        name=name,
                        P={c.name: rng.normal(size=(3, c.out_channels)) for c in table.convs[1:]},
                        Q={c.name: rng.normal(size=(3, c.in_channels)) for c in table.convs[1:]},
                        style_offset=offsets,
                        modulation={c.name: rng.normal(size=c.in_channels) for c in table.convs},
                        w_plus=None,
                        source='a "pencil" sketch \\ of a café 🖌',
                        licence="CC0-1.0",
                        fingerprint="ab" * 32,
                        table_hash=table.hash,
                        dtype=dtype,
                    )
                )
            )
    verdicts = compare(checker, tmp_path, files, table, "table 6 4:7 8:5 16:3", "ab" * 32)
    assert verdicts == {0: len(files)}


@pytest.mark.nightly
def test_many_more_damaged_files(sanitized_checker: Checker, tmp_path: Path) -> None:
    files = [*forgeries()]
    compare(sanitized_checker, tmp_path, files, headers.TABLE, FORGED_TABLE, "f0" * 32)
    compare(
        sanitized_checker,
        tmp_path,
        damaged(20_000),
        mutants.TABLE,
        MUTANT_TABLE,
        mutants.FINGERPRINT,
    )
