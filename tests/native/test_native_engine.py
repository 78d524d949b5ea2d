"""The native engine: its pictures against PyTorch's, and what it refuses."""

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import rs_runtime
from rs_runtime.contracts.errors import IncompatibleError, NumericsError, ResourceError
from rs_runtime.contracts.manifest import MANIFEST_NAME
from rs_runtime.contracts.strict_json import canonical_json
from rs_runtime.engines import native_engine, native_library, select
from rs_runtime.engines.base import FINITE, EngineOptions
from rs_runtime.engines.native_engine import NativeEngine
from tests.native.network import (
    W_DIM,
    constants,
    graph_of,
    random_generator,
    random_inputs,
    reference,
    without,
)

SETS = ("avx512", "avx2", "baseline")
# Channels of each size. Odd counts are padded; up to 16 x 16 layers are direct, then Winograd's.
NARROW = (8, 5, 12, 40, 7)  # 64 x 64: every kernel stays in the cache
WIDE = (16, 16, 16, 176, 160)  # of which the largest layers' do not
FFHQ_LIKE = (32, 32, 32, 32, 32, 16)  # 128 x 128: many bands


@pytest.fixture(params=SETS)
def instructions(request: pytest.FixtureRequest) -> str:
    known = SETS[SETS.index(native_engine.instructions()) :]
    if request.param not in known:
        pytest.skip(f"this machine lacks {request.param}")
    return request.param


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("channels", [NARROW, WIDE, FFHQ_LIKE], ids=["narrow", "wide", "bands"])
@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_are_those_of_pytorch(channels, threads, instructions):
    generator = random_generator(channels)
    inputs = random_inputs(generator, rank=5)
    engine = NativeEngine("synthesis", graph_of(constants(generator)), threads, instructions)
    outputs = engine.run(inputs)
    expected = reference(generator, inputs)
    assert relative_error(outputs["image_float"], expected) < 2e-5
    grey = np.clip((outputs["image_float"][0].transpose(1, 2, 0) + 1) * 127.5, 0, 255)
    assert np.abs(outputs["image"][0] - grey).max() <= 0.5001
    again = engine.run(inputs)
    assert all(np.array_equal(outputs[name], again[name]) for name in outputs)


@pytest.mark.parametrize("rank", [1, 2, 33, 300])
def test_ranks(rank):
    generator = random_generator(NARROW)
    inputs = random_inputs(generator, rank)
    inputs["P"] /= np.float32(np.sqrt(rank))
    engine = NativeEngine("synthesis", graph_of(constants(generator)))
    found = engine.run(inputs)["image_float"]
    assert relative_error(found, reference(generator, inputs)) < 2e-5


PLACES = [(0, 0), (0, 31), (15, 31), (16, 0), (16, 17), (31, 0), (31, 30), (31, 31)]


@pytest.mark.parametrize("colour", range(3))
@pytest.mark.parametrize("place", PLACES)
def test_one_value_that_is_not_finite_is_reported(colour, place, instructions):
    generator = random_generator((4, 4, 4, 4))
    values, inputs = constants(generator), random_inputs(generator, 1)
    # One channel at one pixel becomes huge, and overflows in one colour alone.
    values["b32.conv1.noise"][place] = 3e37
    weight = np.zeros_like(values["b32.torgb.weight"])
    weight[colour, 0] = 1e3
    for factor, bad in ((1e-3, 0), (1, 1)):
        values["b32.torgb.weight"] = weight * np.float32(factor)
        engine = NativeEngine("synthesis", graph_of(values), 2, instructions)
        outputs = engine.run(inputs)
        finite = np.isfinite(outputs["image_float"])
        assert (finite.size - finite.sum(), finite[0, colour][place]) == (bad, not bad)
        assert outputs[FINITE].tolist() == [not bad]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_reported_of_its_run_alone(bad):
    generator = random_generator(NARROW)
    engine = NativeEngine("synthesis", graph_of(constants(generator)), 3)
    good = random_inputs(generator, 2)
    worse = good | {"style_offset": good["style_offset"].copy()}
    worse["style_offset"][0, -1] = bad  # of the last layer to colours
    assert [engine.run(own)[FINITE].item() for own in (good, worse, good)] == [True, False, True]


def test_tokens_of_one_run_leave_nothing_for_the_next():
    generator = random_generator(NARROW)
    graph = graph_of(constants(generator))
    engine = NativeEngine("synthesis", graph, 2)
    first, second = (random_inputs(generator, rank, seed=rank) for rank in (9, 3))
    engine.run(first)
    np.testing.assert_array_equal(
        engine.run(second)["image_float"],
        NativeEngine("synthesis", graph, 2).run(second)["image_float"],
    )


def test_the_number_of_threads_changes_nothing():
    generator = random_generator(FFHQ_LIKE)
    graph, inputs = graph_of(constants(generator)), random_inputs(generator, 4)
    pictures = [NativeEngine("s", graph, n).run(inputs)["image_float"] for n in (1, 2, 5)]
    assert all(np.array_equal(pictures[0], own) for own in pictures[1:])


def test_constants_stored_in_half_precision():
    generator = random_generator(NARROW)
    values = constants(generator)
    halves = {f"{name}.fp16": value.astype(np.float16) for name, value in values.items()}
    wide = {name: value.astype(np.float16).astype(np.float32) for name, value in values.items()}
    inputs = random_inputs(generator, 3)
    found, expected = (
        NativeEngine("synthesis", graph_of(own)).run(inputs)["image_float"]
        for own in (halves, wide)
    )
    np.testing.assert_array_equal(found, expected)


def test_threads_share_an_engine():
    generator = random_generator(NARROW)
    engine = NativeEngine("synthesis", graph_of(constants(generator)), 2)
    requests = [random_inputs(generator, 1 + n % 4, seed=n) for n in range(8)]
    expected = [engine.run(request)["image_float"] for request in requests]
    wrong = []

    def work(n: int) -> None:
        for turn in range(20):
            which = (n + turn) % len(requests)
            if not np.array_equal(engine.run(requests[which])["image_float"], expected[which]):
                wrong.append((n, turn))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_wrong_inputs_are_named_and_the_engine_stays_good():
    generator = random_generator(NARROW)
    engine = NativeEngine("synthesis", graph_of(constants(generator)))
    good = random_inputs(generator, 2)
    expected = engine.run(good)["image_float"]
    with pytest.raises(IncompatibleError, match="other inputs"):
        engine.run({"w_plus": good["w_plus"]})
    wrong = {
        "P": good["P"][:, :1],  # of another rank than Q
        "Q": good["Q"][..., 1:],
        "w_plus": good["w_plus"].astype(np.float64),
        "modulation": np.concatenate([good["modulation"]] * 2),  # two samples
        "style_offset": good["style_offset"][0],
    }
    for name, value in wrong.items():
        with pytest.raises(IncompatibleError, match="native engine cannot run the graph"):
            engine.run(good | {name: value})
    empty = {name: good[name][:, :0] for name in ("P", "Q")}
    with pytest.raises(IncompatibleError, match="input P"):
        engine.run(good | empty)
    strided = {name: np.repeat(value, 2, -1)[..., ::2] for name, value in good.items()}
    np.testing.assert_array_equal(engine.run(strided)["image_float"], expected)


@pytest.mark.parametrize(
    "name",
    ["const", "b4.conv1.weight", "b8.conv0.noise", "b16.torgb.bias", "b64.conv1.affine.bias"],
)
def test_a_graph_without_a_constant_is_refused(name):
    graph = without(graph_of(constants(random_generator(NARROW))), name)
    with pytest.raises(IncompatibleError, match=f"no constant '{name}'"):
        NativeEngine("synthesis", graph)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("const", (8, 4)),
        ("b8.conv1.weight", (5, 5, 1, 1)),
        ("b8.conv1.weight", (5, 6, 3, 3)),
        ("b16.conv0.noise", (8, 8)),
        ("b32.conv1.bias", (41, 1, 1)),
        ("b64.torgb.weight", (3, 8, 1, 1)),
        ("b4.torgb.affine.weight", (8, W_DIM + 4)),
    ],
)
def test_a_constant_of_another_shape_is_refused(name, shape):
    values = constants(random_generator(NARROW)) | {name: np.zeros(shape, np.float32)}
    with pytest.raises(IncompatibleError, match=r"shape|channels"):
        NativeEngine("synthesis", graph_of(values))


@pytest.mark.parametrize("graph", [b"", b"not a model", bytes(1000)])
def test_what_is_no_graph_is_refused(graph):
    with pytest.raises(IncompatibleError, match="cannot open the graph 'broken'"):
        NativeEngine("broken", graph)


def test_damaged_graphs_are_refused_or_drawn():
    # No claim on which: that nothing else happens is the claim.
    generator = random_generator((4, 4, 4))
    good = graph_of(constants(generator))
    inputs = random_inputs(generator, 1)
    rng = np.random.default_rng(0)
    refused = 0
    for turn in range(400):
        bad = bytearray(good[: rng.integers(len(good))] if turn % 2 else good)
        for at in rng.integers(0, max(1, len(bad)), 3):
            if len(bad):
                bad[at] ^= 1 << rng.integers(8)
        try:
            engine = NativeEngine("synthesis", bytes(bad), 1)
        except (IncompatibleError, ResourceError):
            refused += 1
            continue
        if engine._shapes["w_plus"] == inputs["w_plus"].shape:
            engine.run(inputs)
    assert refused > 150


def test_instructions_that_are_not_there_are_refused():
    graph = graph_of(constants(random_generator((4, 4))))
    with pytest.raises(ResourceError, match="avx1024"):
        NativeEngine("synthesis", graph, 1, "avx1024")


def test_without_the_library_the_next_step_is_shown():
    script = (
        "from pathlib import Path\n"
        "from rs_runtime.engines import native_library\n"
        "native_library._LIBRARY = Path('nowhere.so')\n"
        "from rs_runtime.cli import main\n"
        "import sys; sys.argv = ['rs-run', 'synth', '--seed', '1', '--provider', 'native']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 6 and "C++ compiler" in done.stderr and "not built" in done.stderr


def test_auto_draws_by_it_and_leaves_the_rest_to_another_engine():
    runtime = rs_runtime.load(provider="auto", threads=1)
    portrait = runtime.invert("examples/photo.jpg", check=False)
    if native_engine.instructions() == native_engine.SLOW_INSTRUCTIONS:
        pytest.skip("auto takes it with AVX2 at least")
    assert runtime.provider == "native"
    other = rs_runtime.load(provider="cpu", threads=1).invert("examples/photo.jpg", check=False)
    for domain in (None, "sketch"):
        pictures = [own.synthesize(domain).astype(int) for own in (portrait, other)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_strengths_that_overflow_are_an_error_as_with_every_engine():
    heads = [1, 2]
    for provider in ("native", "cpu"):
        runtime = rs_runtime.load(provider=provider, threads=1)
        assert runtime.synth(heads, "sketch").shape == (2, 128, 128, 3)
        refused = pytest.raises(NumericsError, match="the synthesis gave values")
        with np.errstate(over="ignore"), refused as raised:  # float32 ends before
            runtime.synth(heads, [[], [("sketch", 1e39)]])
        assert raised.value.hint == "use smaller strengths"


def test_auto_passes_over_it_where_it_would_be_slow(monkeypatch):
    monkeypatch.setattr(native_engine, "instructions", lambda: "baseline")
    selection = select.EngineSelection(EngineOptions(), lambda provider: True)
    assert "native" not in selection._order


def test_a_bundle_without_its_variant_goes_on_as_before(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(rs_runtime.load(provider="cpu").bundle.root, folder)
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    synthesis = manifest["roles"]["synthesis"]
    synthesis["variants"] = [v for v in synthesis["variants"] if v["engine"] != "native"]
    (folder / MANIFEST_NAME).write_bytes(canonical_json(manifest))
    runtime = rs_runtime.load(folder, threads=1)
    assert runtime.synth(1).shape == (128, 128, 3) and runtime.provider in ("openvino", "cpu")
    with pytest.raises(IncompatibleError, match="not for provider 'native'"):
        rs_runtime.load(folder, provider="native").synth(1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_runs_promptly(number, code, tmp_path):
    generator = random_generator((64, 64, 64, 64, 64, 64, 64))  # 256 x 256
    (tmp_path / "graph.onnx").write_bytes(graph_of(constants(generator)))
    np.savez(tmp_path / "inputs.npz", **random_inputs(generator, 2))
    script = """
import sys, click, numpy as np
from rs_runtime.cli import run
from rs_runtime.engines.native_engine import NativeEngine

@click.command()
def forever():
    engine = NativeEngine("slow", open("graph.onnx", "rb").read(), 1)
    inputs = dict(np.load("inputs.npz"))
    print("ready", flush=True)
    while True:
        engine.run(inputs)

run(forever, "rs-test", [])
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(number)
        begun = time.monotonic()
        assert process.wait(30) == code
        assert time.monotonic() - begun < 5


def test_a_run_that_is_told_to_stop_ends_early():
    generator = random_generator(NARROW)
    engine = NativeEngine("synthesis", graph_of(constants(generator)), 1)
    inputs = random_inputs(generator, 1)
    image_float = np.zeros((1, 3, 64, 64), np.float32)
    image = np.zeros((1, 64, 64, 3), np.uint8)
    finite = np.zeros(1, np.bool_)
    stop = ctypes.c_int32(1)
    status = native_library.library().rs_native_run(
        engine._network.pointer,
        *(native_library.address(inputs[name]) for name in engine._shapes),
        ctypes.c_int32(1),
        *(native_library.address(output) for output in (image_float, image, finite)),
        ctypes.byref(stop),
    )
    assert status == 1 and not image_float.any()
    assert engine.run(inputs)["image_float"].any()
