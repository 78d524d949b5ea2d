"""What a C program may do wrong comes back as a status and a text; nothing else happens."""

import ctypes
import threading
from ctypes import byref, c_double, c_void_p
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.contracts.tokens import read_token_set, write_token_set
from rs_runtime.image_io import load_picture
from tests.cpp.conftest import BUNDLE, PHOTO, onnxruntime_options
from tests.cpp.library import Domain, Failure, Library, Mix, Options, Pixels, Runtime

USAGE, MALFORMED, UNSAFE, INCOMPATIBLE, RESOURCE, NUMERICS = 2, 3, 4, 5, 6, 7


@pytest.fixture(scope="module")
def runtime(library: Library) -> Runtime:
    return library.open_bundle(BUNDLE, provider=b"openvino", threads=1)


@pytest.fixture(scope="module")
def inversion(runtime: Runtime) -> c_void_p:
    return runtime.invert([np.full((40, 30, 3), 90, np.uint8)])


def failing(library: Library, status: int) -> str:
    """The text of a call that must have failed in this way."""
    assert status != 0
    return library.last_error().decode()


def test_every_function_takes_null(library: Library):
    """Each with nothing but NULL and 0: a status where one is given, and a text that names it."""
    for name in ("close", "picture_free", "tokens_free", "inversion_free"):
        getattr(library, name)(None)
    assert library.resolution(None) == 0 and library.inversion_count(None) == 0
    assert library.provider(None) == b"" and library.tokens_name(None) == b""
    assert library.domain_name(None, 0) is None and np.isnan(library.error_limit(None))
    assert library.picture_pixels(None).data is None
    for name in (
        *("read_picture", "decode_picture", "write_png", "open", "find_tokens", "decode_tokens"),
        *("invert", "restore", "synthesize", "reconstruction_errors", "save_tokens", "synth"),
    ):
        function = getattr(library, name)
        zeros = [0 if kind in (ctypes.c_size_t, c_double) else None for kind in function.argtypes]
        assert function(*zeros) == USAGE, name
        assert library.last_error().endswith(b"is NULL"), name


def test_outputs_stay_as_they_were_when_a_call_fails(library, runtime, inversion):
    handle, strength = c_void_p(1), c_double(7)
    status = library.find_tokens(runtime.handle, b"nosuch=0.5", byref(handle), byref(strength))
    assert status == USAGE and handle.value == 1 and strength.value == 7
    pixels = np.full(runtime.side**2 * 3, 5, np.uint8)
    infinite = runtime.mixes([["sketch=1e39"]])
    status = library.synthesize(inversion, infinite, 1, pixels.ctypes.data, pixels.nbytes)
    assert status == NUMERICS and (pixels == 5).all()
    assert "smaller strengths" in library.last_error().decode()


def test_texts_say_what_to_do(library, runtime):
    found = c_void_p()
    status = library.find_tokens(runtime.handle, b"sketchy", byref(found), byref(c_double()))
    text = failing(library, status)
    assert status == USAGE
    assert "'sketchy' is neither" in text and "cartoon, oil, sketch" in text


@pytest.mark.parametrize(
    ("bundle", "options", "status", "text"),
    [
        ("/nosuch", {}, USAGE, "/nosuch"),
        (BUNDLE.parent, {}, MALFORMED, "manifest.json"),
        (BUNDLE, {"provider": b"gpu"}, USAGE, "openvino"),
        (BUNDLE, {"threads": -1}, USAGE, "threads"),
    ],
)
def test_bundles_and_options_that_are_refused(library, bundle, options, status, text):
    with pytest.raises(Failure, match=text) as failure:
        library.open_bundle(bundle, **options)
    assert failure.value.status == status


def test_named_provider_never_falls_back(library):
    with pytest.raises(Failure) as failure:
        library.open_bundle(BUNDLE, provider=b"cuda", onnxruntime=b"/nosuch/libonnxruntime.so")
    assert failure.value.status == RESOURCE


def test_provider_that_the_library_lacks_is_refused(library):
    with pytest.raises(Failure, match="CUDAExecutionProvider") as failure:
        library.open_bundle(BUNDLE, **onnxruntime_options() | {"provider": b"cuda"})
    assert failure.value.status == RESOURCE


def test_sizes_of_other_peoples_memory_are_checked(library, runtime, inversion):
    pixels = np.empty(10, np.uint8)
    assert library.synthesize(inversion, None, 0, pixels.ctypes.data, 10) == USAGE
    assert "49152" in library.last_error().decode()
    for view, status in (
        (Pixels(None, 4, 4, 0), USAGE),
        (Pixels(pixels.ctypes.data, 0, 4, 0), USAGE),
        (Pixels(pixels.ctypes.data, 4, -4, 0), USAGE),
        (Pixels(pixels.ctypes.data, 4, 4, 11), USAGE),
        (Pixels(pixels.ctypes.data, 2**31 - 1, 2**31 - 1, 0), UNSAFE),
    ):
        assert library.invert(runtime.handle, byref(view), 1, byref(c_void_p())) == status
    assert library.invert(runtime.handle, None, 0, byref(c_void_p())) == USAGE


def test_mixes_that_do_not_fit_the_batch(library, runtime, inversion):
    pixels = np.empty(runtime.side**2 * 3, np.uint8)
    mixes = runtime.mixes([["sketch"], ["oil"]])
    call = (inversion, mixes, 2, pixels.ctypes.data, pixels.nbytes)
    assert library.synthesize(*call) == USAGE
    assert "none, 1 or 1" in library.last_error().decode()
    for strength in (float("nan"), float("inf")):
        mix = Mix(None, 0, strength)
        call = (inversion, byref(mix), 1, pixels.ctypes.data, pixels.nbytes)
        assert library.synthesize(*call) == USAGE


def test_tokens_of_another_generator_are_refused(library, runtime, tmp_path: Path):
    own = read_token_set(BUNDLE / "domains" / "oil.tokens", table=None, fingerprint=None)
    path = tmp_path / "foreign.tokens"
    write_token_set(path, replace(own, fingerprint="7" * 64))
    with pytest.raises(Failure, match="another generator") as failure:
        runtime.tokens(str(path))
    assert failure.value.status == INCOMPATIBLE
    trying = library.open_bundle(BUNDLE, provider=b"openvino", allow_foreign=1)
    handle, strength = trying.tokens(f"{path}=0.5")
    assert strength == 0.5
    # Not for a runtime that did not ask for it, either.
    pixels = np.empty(runtime.side**2 * 3, np.uint8)
    mix = Mix((Domain * 1)(Domain(handle.value, 1.0)), 1, 1.0)
    inverted = runtime.invert([np.zeros((9, 9, 3), np.uint8)])
    status = library.synthesize(inverted, byref(mix), 1, pixels.ctypes.data, pixels.nbytes)
    assert status == INCOMPATIBLE
    trying.close()


def test_domain_is_no_inverted_picture(library, runtime):
    tokens, _ = runtime.tokens("oil")
    assert library.restore(runtime.handle, tokens, byref(c_void_p())) == USAGE
    assert "not an inverted picture" in library.last_error().decode()


def test_strength_where_none_is_taken(library, runtime):
    found = c_void_p()
    assert library.find_tokens(runtime.handle, b"oil", byref(found), None) == 0
    assert library.find_tokens(runtime.handle, b"oil=0.5", byref(found), None) == USAGE


def test_inversions_and_tokens_outlive_their_runtime(library):
    runtime = library.open_bundle(BUNDLE, provider=b"openvino", threads=1)
    inversion = runtime.invert([np.full((20, 20, 3), 99, np.uint8)])
    mixes = runtime.mixes([["oil"]])
    before = runtime.synthesize(inversion, [["oil"]])
    runtime.close()
    after = np.empty_like(before)
    status = library.synthesize(inversion, mixes, 1, after.ctypes.data, after.nbytes)
    assert status == 0
    np.testing.assert_array_equal(before, after)


def test_errors_belong_to_their_thread(library):
    library.open(b"/here", None, byref(c_void_p()))
    seen = []

    def other() -> None:
        seen.append(library.last_error())
        library.open(b"/elsewhere", None, byref(c_void_p()))
        seen.append(library.last_error())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen[0] == b"" and b"/elsewhere" in seen[1]
    assert b"/here" in library.last_error()


def test_long_texts_are_cut_between_characters(library):
    path = "/" + "ä" * 5000
    assert library.open(path.encode(), None, byref(c_void_p())) == USAGE
    text = library.last_error()
    assert 4000 < len(text) < 4096
    text.decode()


def test_pictures_from_memory(library, tmp_path: Path):
    data = PHOTO.read_bytes()
    handle = library.made(library.decode_picture, data, len(data))
    found = library.picture_pixels(handle)
    own = np.ctypeslib.as_array(
        ctypes.cast(found.data, ctypes.POINTER(ctypes.c_uint8)), (found.height, found.width, 3)
    )
    path = tmp_path / "photo.png"
    library.check(library.write_png(str(path).encode(), byref(found)))
    np.testing.assert_array_equal(load_picture(path), own)
    library.picture_free(handle)
    assert library.decode_picture(b"GIF89a", 6, byref(c_void_p())) == MALFORMED
    assert library.decode_picture(data, 2000, byref(c_void_p())) == MALFORMED


def test_default_options(library):
    options: Options = library.default_options()
    assert (options.provider, options.onnxruntime, options.threads) == (b"auto", None, 0)
