"""Many threads on one handle draw what one thread draws; nothing that is ended is kept."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.cpp import native_bundle, tiny_openvino
from tests.cpp.library import Library, Runtime

THREADS, REQUESTS = 8, 100
MIXES = ([], ["sketch"], ["oil=0.5"], ["sketch=0.25", "oil"])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_openvino.build(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo bundle, of which the native engine runs the encoders, too."""
    return native_bundle.build(tmp_path_factory.mktemp("demo") / "bundle")


def request(runtime: Runtime, number: int) -> np.ndarray:
    """One picture inverted and drawn in one of the mixes."""
    picture = np.full((11, 13, 3), number % 251, np.uint8)
    inversion = runtime.invert([picture])
    drawn = runtime.synthesize(inversion, [MIXES[number % len(MIXES)]])
    runtime.library.inversion_free(inversion)
    return drawn


def threads_draw_what_one_draws(runtime: Runtime, requests: int) -> None:
    serial = [request(runtime, number) for number in range(requests)]
    assert len({drawn.tobytes() for drawn in serial}) > len(MIXES)

    def worker(first: int) -> None:
        for i in range(requests):
            number = (first + i) % requests
            np.testing.assert_array_equal(request(runtime, number), serial[number])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(worker, range(THREADS)))


def test_threads_draw_what_one_draws(library: Library, tiny: Path):
    runtime = library.open_bundle(tiny, provider=b"openvino", threads=1)
    threads_draw_what_one_draws(runtime, REQUESTS)
    runtime.close()


def test_threads_draw_natively_what_one_draws(library: Library, demo: Path):
    runtime = library.open_bundle(demo, provider=b"native", threads=1)
    threads_draw_what_one_draws(runtime, 2 * len(MIXES))
    runtime.close()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("provider", "threads"), [("openvino", 1), ("native", 1), ("native", 2), ("native", 3)]
)
def test_threads_draw_what_one_draws_with_the_demo(
    library: Library, demo: Path, provider: str, threads: int
):
    runtime = library.open_bundle(demo, provider=provider.encode(), threads=threads)
    threads_draw_what_one_draws(runtime, REQUESTS)
    runtime.close()


def test_threads_that_open_the_first_graph_together(library: Library, tiny: Path):
    runtime = library.open_bundle(tiny, threads=1)
    assert runtime.provider == ""
    with ThreadPoolExecutor(THREADS) as pool:
        drawn = list(pool.map(lambda _: request(runtime, 5), range(THREADS)))
    assert all((one == drawn[0]).all() for one in drawn)
    assert runtime.provider == "openvino"
    runtime.close()


def growth(work: Callable[[], None], warm_up: int, times: int) -> int:
    """Bytes by which the process grows over some repetitions."""
    for _ in range(warm_up):
        work()
    before = psutil.Process().memory_info().rss
    for _ in range(times):
        work()
    return psutil.Process().memory_info().rss - before


def test_thousand_handles_of_each_kind_leave_nothing(library: Library, tiny: Path):
    runtime = library.open_bundle(tiny, provider=b"openvino", threads=1)
    picture = np.zeros((64, 64, 3), np.uint8)

    def work() -> None:
        inversion = runtime.invert([picture])
        tokens, _ = runtime.tokens(str(tiny / "domains" / "sketch.tokens"))
        library.tokens_free(tokens)
        library.inversion_free(inversion)
        library.open_bundle(tiny, provider=b"openvino").close()

    # A leak of one picture's pixels alone would be 12 MB.
    assert growth(work, 100, 1000) < 4_000_000
    runtime.close()


@pytest.mark.nightly
def test_thousand_opened_graphs_leave_nothing(library: Library, tiny: Path):
    def work() -> None:
        runtime = library.open_bundle(tiny, provider=b"openvino", threads=1)
        request(runtime, 3)
        runtime.close()

    # Observed: 13 kB for each bundle of three graphs.
    assert growth(work, 50, 1000) < 20_000_000


@pytest.mark.nightly
def test_native_engines_leave_nothing(library: Library, demo: Path):
    def work() -> None:
        runtime = library.open_bundle(demo, provider=b"native", threads=3)
        request(runtime, 1)
        runtime.close()

    # The network's own arrays would be 20 MB each time.
    assert growth(work, 20, 100) < 20_000_000
