"""libFuzzer on the readers of token sets, manifests, pictures and the native engine's graphs, under
the sanitizers."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from rs_runtime.contracts.bundle import Manifest, build_manifest
from tests.cpp import native_graph
from tests.cpp.conftest import SOURCE, build, require, require_packages, run
from tests.cpp.test_picture_files import jpegs, pngs
from tests.runtime.contracts import test_token_mutants as mutants
from tests.runtime.contracts.conftest import contents, manifest, table  # noqa: F401
from tests.runtime.test_cut import chain

TARGETS = Path(__file__).parent / "fuzz"
SECONDS = 300
SANITIZERS = "address,undefined"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build tree of the library's core, instrumented."""
    require("clang++")
    require_packages()
    folder = tmp_path_factory.mktemp("cpp-fuzz")
    flags = f"-O1 -g1 -fsanitize=fuzzer-no-link,{SANITIZERS} -fno-sanitize-recover=all"
    options = ["-DCMAKE_CXX_COMPILER=clang++", f"-DCMAKE_CXX_FLAGS={flags}"]
    build(folder, [*options, "-DREFINESTYLE_OPENVINO=OFF"], "refinestyle_core")
    return folder


def fuzz(core: Path, folder: Path, target: str, seeds: Sequence[bytes]) -> None:
    """Runs one target; what it finds lies in the folder."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(seeds):
        (corpus / str(i)).write_bytes(seed)
    ours = [core / f"librefinestyle_{name}.a" for name in ("core", "native")]
    folders = [f"-I{SOURCE / 'src'}", f"-I{SOURCE.parent}"]
    own = ["-std=c++17", "-O1", "-g1", *folders, f"-fsanitize=fuzzer,{SANITIZERS}"]
    libraries = [*ours, "-ljpeg", "-lpng", "-lz"]
    if "LCMS2_LIBRARY-NOTFOUND" not in (core / "CMakeCache.txt").read_text():
        libraries.append("-llcms2")
    run("clang++", *own, TARGETS / f"{target}.cpp", *libraries, "-o", folder / target)
    limits = [f"-max_total_time={SECONDS}", "-timeout=60", "-rss_limit_mb=3000", "-max_len=60000"]
    done = subprocess.run(
        [str(folder / target), *limits, f"-artifact_prefix={folder}/", str(corpus)],
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.nightly
def test_tokens(core: Path, tmp_path: Path) -> None:
    fuzz(core, tmp_path, "tokens", mutants.seeds())


@pytest.mark.nightly
def test_manifests(
    core: Path,
    tmp_path: Path,
    manifest: Manifest,  # noqa: F811
    contents: dict[str, bytes],  # noqa: F811
) -> None:
    fuzz(core, tmp_path, "manifest", [build_manifest(manifest, contents).to_json()])


@pytest.mark.nightly
def test_pictures(core: Path, tmp_path: Path) -> None:
    fuzz(core, tmp_path, "picture", [*jpegs().values(), *pngs().values()])


@pytest.mark.nightly
def test_synthesis_graphs(core: Path, tmp_path: Path) -> None:
    networks = ({4: 1}, {4: 3, 8: 2}, {4: 2, 8: 1, 16: 2})
    fuzz(core, tmp_path, "synthesis", [native_graph.build(channels) for channels in networks])


@pytest.mark.nightly
def test_trunks(core: Path, tmp_path: Path) -> None:
    networks = ((1, 1, 1, 1, 1), (3, 3, 2, 4, 5))
    fuzz(core, tmp_path, "trunk", [native_graph.build_trunk(channels) for channels in networks])


@pytest.mark.nightly
def test_pieces_of_graphs(core: Path, tmp_path: Path) -> None:
    fuzz(core, tmp_path, "cut", [chain()])
