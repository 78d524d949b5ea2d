"""The pipeline on graphs whose pictures can be worked out on paper."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import rs_runtime
from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    NumericsError,
    ResourceError,
    UsageError,
)
from rs_runtime.contracts.tokens import write_token_set
from rs_runtime.engines.base import FINITE
from rs_runtime.image_io import encode_picture
from rs_runtime.pipeline import UnfamiliarPictureWarning
from rs_runtime.synthesis import require_finite
from tests.runtime.tiny_bundle import FINGERPRINT, TABLE, TINTS, build, domain_set, own_tint

RED, BLUE = (200, 80, 60), (40, 90, 210)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def runtime(folder):
    return rs_runtime.load(folder, provider="cpu", threads=1)


def flat(colour) -> np.ndarray:
    return np.full((11, 9, 3), colour, np.uint8)


def painted(colour, domains=(), image_strength=1.0) -> np.ndarray:
    """The one colour of the picture that the graphs make, by hand."""
    base = np.array(colour) / 127.5 - 1
    total = base + image_strength * own_tint(base[0])
    for name, strength in domains:
        total = total + strength * TINTS[name]
    return np.rint(np.clip((total + 1) * 127.5, 0, 255))


def assert_paint(picture, expected) -> None:
    assert picture.dtype == np.uint8 and picture.shape == (8, 8, 3)
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_two_stages_in_order(runtime):
    inversion = runtime.invert(flat(RED))
    assert inversion.w_plus.shape == (TABLE.num_ws, TABLE.w_dim)
    np.testing.assert_array_equal(inversion.input, flat(RED)[:8, :8])
    np.testing.assert_array_equal(inversion.first_inversion, flat(RED)[:8, :8])
    assert_paint(inversion.reconstruction, painted(RED))
    assert (inversion.reconstruction != inversion.first_inversion).any()


@pytest.mark.parametrize(
    ("domains", "mixture"),
    [
        (None, []),
        ([], []),
        ("sketch", [("sketch", 1)]),
        ("sketch.tokens=0.5", [("sketch", 0.5)]),
        (("oil", -0.5), [("oil", -0.5)]),
        (["sketch", ("oil", 0.25)], [("sketch", 1), ("oil", 0.25)]),
        (["oil", "oil=2", domain_set("sketch")], [("oil", 3), ("sketch", 1)]),
    ],
)
@pytest.mark.parametrize("image_strength", [1.0, 0.0, -0.5])
def test_domains_add_with_their_strengths(runtime, domains, mixture, image_strength):
    picture = runtime.invert(flat(RED)).synthesize(domains, image_strength=image_strength)
    assert_paint(picture, painted(RED, mixture, image_strength))


def test_a_batch_has_a_mix_for_each_sample(runtime):
    batch = runtime.invert(
        [flat(RED), Image.fromarray(flat(BLUE)), encode_picture(flat(RED), ".png")]
    )
    assert len(batch) == 3 and batch.w_plus.shape[0] == 3 and batch.error.shape == (3,)
    pictures = batch.synthesize([["sketch"], [("oil", 0.5), "sketch=2"], []])
    assert_paint(pictures[0], painted(RED, [("sketch", 1)]))
    assert_paint(pictures[1], painted(BLUE, [("oil", 0.5), ("sketch", 2)]))
    assert_paint(pictures[2], painted(RED))
    alone = runtime.invert(flat(BLUE)).synthesize([("oil", 0.5), "sketch=2"])
    np.testing.assert_array_equal(pictures[1], alone)
    with pytest.raises(UsageError, match="each sample"):
        batch.synthesize([["sketch"], []])


def test_long_batches_are_cut_and_put_together_again(runtime):
    colours = [(10 * i, 100, 250 - 10 * i) for i in range(19)]
    batch = runtime.invert([flat(colour) for colour in colours])
    for picture, colour in zip(batch.reconstruction, colours, strict=True):
        assert_paint(picture, painted(colour))


def test_what_a_user_holds_is_not_drawn_over(runtime, tmp_path):
    inversion = runtime.invert(flat(RED))
    restored = runtime.restore(inversion.save_tokens(tmp_path / "red.tokens"))
    held = [*inversion.tokens, *restored.tokens]
    held += [inversion.synthesize("sketch"), runtime.synth(3, "oil"), inversion.reconstruction]
    before = [np.copy(array) for array in held]
    for strength in (0.5, 2.0):
        other = runtime.invert([flat(BLUE)] * 3)
        other.synthesize([["oil", "sketch"], [], [("sketch", strength)]], image_strength=strength)
        inversion.synthesize(["oil", "sketch"], image_strength=strength)
        runtime.synth([1, 2], ["sketch", "oil=3"])
    for array, own in zip(held, before, strict=True):
        np.testing.assert_array_equal(array, own)


def test_threads_draw_as_one_alone_does(runtime):
    inversions = [runtime.invert(flat(colour)) for colour in (RED, BLUE)]
    jobs = [
        (inversion, [(name, strength) for name in names])
        for inversion in inversions
        for names in (["sketch"], ["oil"], ["oil", "sketch"])
        for strength in (-0.5, 0.25, 1.0)
    ]
    alone = [inversion.synthesize(domains) for inversion, domains in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: job[0].synthesize(job[1]), jobs * 5))
    for picture, own in zip(together, alone * 5, strict=True):
        np.testing.assert_array_equal(picture, own)


def test_saved_tokens_bring_the_picture_back(runtime, tmp_path):
    inversion = runtime.invert(flat(RED))
    path = inversion.save_tokens(tmp_path / "my photo!.tokens")
    restored = runtime.restore(path)
    np.testing.assert_array_equal(restored.w_plus, inversion.w_plus)
    for domains in (None, "sketch", ["oil=0.5"]):
        for strength in (1.0, 0.5):
            np.testing.assert_array_equal(
                restored.synthesize(domains, image_strength=strength),
                inversion.synthesize(domains, image_strength=strength),
            )
    tokens = runtime.load_tokens(path)
    assert (tokens.kind, tokens.name, tokens.fingerprint) == ("image", "my photo_", FINGERPRINT)
    assert restored.input is None and restored.warnings == [None]
    with pytest.raises(UsageError, match="no picture to compare"):
        _ = restored.error
    with pytest.raises(UsageError, match="not an inverted picture"):
        runtime.restore(domain_set("sketch"))


def test_an_unfamiliar_picture_gives_a_warning(runtime):
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    with pytest.warns(UnfamiliarPictureWarning, match="knows flat colours; bring your own"):
        inversion = runtime.invert(noise)
    expected = np.mean((noise / 127.5 - inversion.reconstruction / 127.5) ** 2)
    assert inversion.error == pytest.approx(expected) and expected > 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert runtime.invert(flat(RED)).warnings == [None]
        assert runtime.invert(noise, check=False).warnings[0] is not None


def test_random_heads_follow_seed_psi_and_domain(runtime):
    z = np.random.RandomState(7).randn(2)
    colour = np.rint(np.clip((0.5 * z[0] + TINTS["sketch"] + 1) * 127.5, 0, 255))
    picture = runtime.synth(7, "sketch", truncation_psi=0.5)
    assert_paint(picture, colour)
    many = runtime.synth([3, 7], ["sketch"], truncation_psi=0.5)
    assert many.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(many[1], picture)
    for seeds in (-1, [], [2**32]):
        with pytest.raises(UsageError, match="seed"):
            runtime.synth(seeds)
    np.testing.assert_array_equal(runtime.synth(np.int64(3)), runtime.synth(3))


def test_token_sets_of_other_generators_are_refused(runtime, folder, tmp_path):
    foreign = domain_set("sketch", fingerprint="6" * 64)
    write_token_set(tmp_path / "foreign.tokens", foreign)
    inversion = runtime.invert(flat(RED))
    for domain in (foreign, tmp_path / "foreign.tokens"):
        with pytest.raises(IncompatibleError, match="another generator"):
            inversion.synthesize(domain)
    open_minded = rs_runtime.load(folder, provider="cpu", threads=1, allow_foreign=True)
    for domain in (foreign, tmp_path / "foreign.tokens"):
        picture = open_minded.invert(flat(RED)).synthesize(domain)
        assert_paint(picture, painted(RED, [("sketch", 1)]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found_and_large_ones_are_not_refused(bad):
    picture = np.full((1, 3, 4, 4), np.finfo(np.float32).max)
    require_finite("synthesis", {"image_float": picture}, ("image_float",), "")
    picture[0, 1, 2, 3] = bad
    for own in (picture, np.zeros_like(picture) + np.where(np.isfinite(picture), 0, picture)):
        with pytest.raises(NumericsError, match="not finite"):
            require_finite("synthesis", {"image_float": own}, ("image_float",), "")


@pytest.mark.parametrize("large", [0, 1 << 40])
def test_a_large_picture_is_looked_at_to_its_last_value(large, monkeypatch):
    monkeypatch.setattr("rs_runtime.both.LARGE_BYTES", large)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, 7, 7)).astype(np.float32)
    require_finite("synthesis", {"image_float": picture}, ("image_float",), "")
    for at in range(picture.size):
        own = picture.copy()
        own.flat[at] = np.nan if at % 2 else np.inf
        with pytest.raises(NumericsError, match="not finite"):
            require_finite("synthesis", {"image_float": own}, ("image_float",), "")


def test_what_an_engine_has_seen_of_its_outputs_is_taken_from_it():
    outputs = {"image_float": None, FINITE: np.array([True, True])}
    require_finite("synthesis", outputs, ("image_float",), "")
    outputs[FINITE][1] = False
    with pytest.raises(NumericsError, match="the synthesis gave values"):
        require_finite("synthesis", outputs, ("image_float",), "")


def test_strengths_that_overflow_are_an_error_not_a_black_picture(runtime):
    with pytest.raises(NumericsError, match="not finite"):
        runtime.invert(flat(RED)).synthesize("sketch=1e38")


@pytest.mark.parametrize(("dtype", "size"), [("F16", 2), ("F32", 4)])
def test_domains_in_memory_take_what_their_files_store(runtime, tmp_path, dtype, size):
    rank = 64
    P, Q = (
        {layer.name: np.ones((rank, getattr(layer, side))) for layer in TABLE.convs}
        for side in ("out_channels", "in_channels")
    )
    domain = replace(domain_set("oil"), P=P, Q=Q, dtype=dtype)
    paths = [tmp_path / f"{n}.tokens" for n in range(3)]
    for path in paths:
        write_token_set(path, domain)
    owners = {}
    for tokens, _ in runtime.domain_choices.resolve(paths):
        for group in (tokens.P, tokens.Q, tokens.style_offset, tokens.modulation):
            for array in group.values():
                owner = array if array.base is None else array.base
                assert owner.flags.owndata and array.itemsize == size
                owners[id(owner)] = owner
    data = paths[0].read_bytes()
    stored = len(data) - 8 - int.from_bytes(data[:8], "little")
    assert sum(owner.nbytes for owner in owners.values()) == len(paths) * stored


def test_domains_of_the_bundle(runtime):
    assert runtime.domains == ["oil", "sketch"]
    assert runtime.domain("oil").source == "a oil of a person"
    with pytest.raises(UsageError, match="oil, sketch"):
        runtime.domain("cubism")


def test_provider_is_reported(folder):
    named = rs_runtime.load(folder, provider="cpu", threads=1)
    assert named.provider == "cpu" and named.provider_note == ""
    auto = rs_runtime.load(folder, threads=1)
    assert auto.provider is None
    auto.invert(flat(RED))
    assert auto.provider_note.startswith(f"provider: {auto.provider} (auto")


def test_a_bundle_without_a_role_says_which(tmp_path, folder):
    roles = dict(rs_runtime.load(folder).manifest.roles)
    del roles["mapping"]
    lesser = rs_runtime.load(build(tmp_path / "lesser", roles=roles), provider="cpu")
    with pytest.raises(IncompatibleError, match="mapping"):
        lesser.synth(1)


def test_a_changed_graph_is_refused_before_it_is_opened(tmp_path):
    folder = build(tmp_path / "tiny")
    graph = folder / "synthesis.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    with pytest.raises(MalformedFileError, match=r"synthesis\.onnx"):
        rs_runtime.load(folder, provider="cpu").invert(flat(RED))


def test_no_bundle_at_all(monkeypatch, tmp_path):
    monkeypatch.setattr("rs_runtime.pipeline.DEMO_BUNDLE", tmp_path / "gone")
    with pytest.raises(ResourceError, match="demo bundle"):
        rs_runtime.load()
    with pytest.raises(UsageError):
        rs_runtime.load(tmp_path / "gone")


def test_loading_a_bundle_starts_no_engine_and_running_one_no_torch(folder):
    script = (
        "import sys, numpy, rs_runtime\n"
        f"runtime = rs_runtime.load({str(folder)!r}, provider='cpu', threads=1)\n"
        "runtime.invert(numpy.zeros((8, 8, 3), numpy.uint8)).synthesize('sketch')\n"
        "print([name for name in ('torch', 'onnx') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
