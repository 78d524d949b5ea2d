"""The C++ library gives the pictures that Python gives with the same engine."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.contracts.errors import IncompatibleError, NumericsError
from rs_runtime.engines.native_engine import instructions
from rs_runtime.image_io import load_picture
from rs_runtime.pipeline import Runtime as PythonRuntime
from rs_runtime.pipeline import load
from tests.cpp import native_bundle
from tests.cpp.conftest import BUNDLE, PHOTO, onnxruntime_options, run
from tests.cpp.library import Failure, Library, Runtime
from tests.cpp.tiny_openvino import build_with_features

LEVELS = 1  # grey levels that two runs of one engine may differ by
DOMAINS = ("cartoon", "oil", "sketch")


@pytest.fixture(scope="module", params=["openvino", "native", "native with encoders", "cpu"])
def pair(
    request: pytest.FixtureRequest, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Runtime, PythonRuntime]:
    """The demo bundle in C++ and in Python, with one engine and one number of threads."""
    provider, *more = request.param.split()
    bundle = native_bundle.build(tmp_path_factory.mktemp("native") / "bundle") if more else BUNDLE
    options = onnxruntime_options() if provider == "cpu" else {"provider": provider.encode()}
    python = load(bundle, provider=provider, threads=1)
    return library.open_bundle(bundle, **options, threads=1), python


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return load_picture(PHOTO)


def difference(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference in grey levels."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def test_bundle_says_the_same_in_both(pair):
    own, python = pair
    assert own.domains == python.domains == sorted(DOMAINS)
    assert own.side == python.manifest.image.size
    limit = own.library.error_limit(own.handle)
    assert limit == python.manifest.reconstruction.mse_p99


def test_inversion_and_every_domain(pair, photo):
    own, python = pair
    inversion = own.invert([photo])
    expected = python.invert(photo, check=False)
    assert own.provider == python.provider
    assert difference(own.synthesize(inversion)[0], expected.reconstruction) <= LEVELS
    for domain in DOMAINS:
        drawn = own.synthesize(inversion, [[domain]])[0]
        assert difference(drawn, expected.synthesize(domain)) <= LEVELS
        assert difference(drawn, expected.reconstruction) > 50
    np.testing.assert_allclose(own.errors(inversion), [expected.error], rtol=1e-3)


def test_batch_in_which_each_picture_has_its_own_domains(pair, photo):
    own, python = pair
    pictures = [photo, photo[:, ::-1].copy(), photo[20:200, 10:180]]
    mixes = [["sketch=0.6", "oil=0.4"], ([], 0.5), (["cartoon", "cartoon=-0.25"], 0.0)]
    drawn = own.synthesize(own.invert(pictures), mixes)
    expected = python.invert(pictures, check=False).synthesize(
        [["sketch=0.6", "oil=0.4"], [], ["cartoon", "cartoon=-0.25"]],
        image_strength=[1.0, 0.5, 0.0],
    )
    assert difference(drawn, expected) <= LEVELS
    # A sample alone is what it is in the batch.
    alone = own.synthesize(own.invert(pictures[2:]), mixes[2:])
    assert difference(alone[0], drawn[2]) <= LEVELS


def test_strengths_that_overflow_are_refused_in_both(pair):
    own, python = pair
    too_much = [[], [(python.domain("sketch"), 1e39)]]
    with np.errstate(over="ignore"), pytest.raises(NumericsError) as expected:
        python.synth([1, 2], too_much)
    with pytest.raises(Failure, match=expected.value.hint) as failure:
        own.synth([1, 2], [[], ["sketch=1e39"]])
    assert failure.value.status == expected.value.exit_code


def test_one_mix_is_for_all_pictures(pair, photo):
    own, _ = pair
    inversion = own.invert([photo, photo])
    one, each = own.synthesize(inversion, [["oil"]]), own.synthesize(inversion, [["oil"]] * 2)
    np.testing.assert_array_equal(one, each)
    np.testing.assert_array_equal(one[0], one[1])


def test_seeds_are_the_heads_that_they_are_in_python(pair):
    own, python = pair
    seeds = [0, 1, 2**32 - 1]
    expected = python.synth(seeds, [["sketch"], [], ["oil=0.5"]], truncation_psi=0.8)
    drawn = own.synth(seeds, [["sketch"], [], ["oil=0.5"]], truncation_psi=0.8)
    assert difference(drawn, expected) <= LEVELS
    assert difference(drawn[0], drawn[1]) > 50


def test_saved_tokens_are_pythons_and_come_back(pair, photo, tmp_path: Path):
    own, python = pair
    library = own.library
    inversion = own.invert([photo])
    saved, expected = tmp_path / "me.tokens", tmp_path / "python" / "me.tokens"
    expected.parent.mkdir()
    library.check(library.save_tokens(inversion, 0, str(saved).encode()))
    python.invert(photo, check=False).save_tokens(expected)
    assert own.provider == "cpu" or saved.read_bytes() == expected.read_bytes()
    python.load_tokens(saved)
    tokens, strength = own.tokens(str(saved))
    assert strength == 1 and library.tokens_name(tokens) == b"me"
    restored = library.made(library.restore, own.handle, tokens)
    drawn = own.synthesize(restored, [["sketch"]])
    assert difference(drawn, own.synthesize(inversion, [["sketch"]])) <= LEVELS


def test_rows_may_have_gaps(pair, photo):
    own, _ = pair
    wide = np.zeros((photo.shape[0], photo.shape[1] + 7, 3), np.uint8)
    wide[:, : photo.shape[1]] = photo
    gaps = wide[:, : photo.shape[1]]
    drawn = [own.synthesize(own.invert([each])) for each in (gaps, photo)]
    np.testing.assert_array_equal(*drawn)


def test_native_engine_draws_the_same_in_both_and_what_openvino_draws(library, photo):
    """To the bit, on any number of threads: one compiler has made both."""
    python = load(BUNDLE, provider="native", threads=2).invert([photo, photo[::-1]], check=False)
    mixes = ([], ["sketch"], ["oil=0.5", "cartoon=0.5"])
    expected = [python.synthesize(mix) for mix in mixes]
    for name, threads in ((b"native", 1), (b"native", 0), (b"openvino", 1)):
        own = library.open_bundle(BUNDLE, provider=name, threads=threads)
        inversion = own.invert([photo, photo[::-1].copy()])
        for mix, picture in zip(mixes, expected, strict=True):
            drawn = own.synthesize(inversion, [mix])
            assert difference(drawn, picture) <= (0 if name == b"native" else LEVELS)
        library.inversion_free(inversion)
        own.close()


def test_encoders_that_the_native_engine_cannot_run_are_refused_in_both(
    library, photo, tmp_path: Path
):
    bundle = native_bundle.build(
        tmp_path / "bundle", lambda graph: graph.replace(b"trunk.eighth", b"trunk.Eighth")
    )
    with pytest.raises(IncompatibleError, match=r"trunk\.eighth") as expected:
        load(bundle, provider="native").invert(photo, check=False)
    with pytest.raises(Failure) as failure:
        library.open_bundle(bundle, provider=b"native").invert([photo])
    assert failure.value.status == expected.value.exit_code
    assert str(failure.value) == str(expected.value)
    # Others have graphs without a trunk.
    assert library.open_bundle(bundle, provider=b"openvino").invert([photo])


def test_pictures_with_feature_maps(library, tmp_path: Path):
    bundle = build_with_features(tmp_path / "features")
    own = library.open_bundle(bundle, provider=b"openvino", threads=1)
    python = load(bundle, provider="openvino", threads=1)
    rng = np.random.default_rng(2)
    colours = rng.integers(0, 256, (11, 1, 1, 3), np.uint8)
    pictures = [np.broadcast_to(colour, (9, 9, 3)).copy() for colour in colours]
    inversion, expected = own.invert(pictures), python.invert(pictures, check=False)
    plain = own.synthesize(inversion)
    assert difference(plain, expected.reconstruction) <= LEVELS
    mixes = [["sketch"], ["oil=0.5", "sketch=-0.25"], *[[]] * 9]
    strengths = [1.0, 0.5, 0.0, *[1.0] * 8]
    drawn = own.synthesize(inversion, list(zip(mixes, strengths, strict=True)))
    assert difference(drawn, expected.synthesize(mixes, image_strength=strengths)) <= LEVELS
    assert [difference(*two) > LEVELS for two in zip(drawn, plain, strict=True)] == [True] * 3 + [
        False
    ] * 8
    np.testing.assert_allclose(own.errors(inversion), expected.error, rtol=1e-3)
    with pytest.raises(Failure, match="feature map") as refusal:
        library.check(library.save_tokens(inversion, 0, str(tmp_path / "me.tokens").encode()))
    assert refusal.value.status == 5
    with pytest.raises(Failure, match="finite") as refusal:
        own.synthesize(inversion, [(["sketch"], float("nan"))])
    assert refusal.value.status == 2


def test_example_program_writes_what_python_draws(build_folder, library, tmp_path: Path):
    photo = shutil.copy(PHOTO, tmp_path / "photo.jpg")
    run(build_folder / "examples" / "invert", photo, "--domain", "sketch.tokens", "--threads", 1)
    drawn = load_picture(tmp_path / "photo.sketch.png")
    python = load(BUNDLE, threads=1)
    expected = python.invert(photo, check=False).synthesize("sketch")
    assert python.provider == ("openvino" if instructions() == "baseline" else "native")
    assert difference(drawn, expected) <= LEVELS
    own = library.open_bundle(BUNDLE, threads=1)
    own.invert([load_picture(photo)])
    assert own.provider == python.provider
