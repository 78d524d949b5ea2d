"""The command rs-export: what it writes, and what it leaves alone when it fails."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest

import rs_runtime
from rs_export import export, precision, sources
from rs_export.cli import command
from rs_runtime.cli import run
from rs_runtime.contracts.bundle import Bundle, read_bundle
from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import write_token_set
from rs_runtime.engines.base import EngineOptions
from rs_runtime.engines.select import installed
from rs_runtime.roles import RoleRunner
from rs_train.checkpoint import save_model
from tests.export.tiny_model import domain_of, save_checkpoints, short_trunk, tiny_generator


def rs_export(*arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as end:
        run(command, "rs-export", [str(argument) for argument in arguments])
    return end.value.code


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, checkpoints, trace_once) -> Path:
    """What `rs-export --model two_stage --fp16` wrote."""
    out = tmp_path_factory.mktemp("out") / "bundle"
    arguments = ("--model=two_stage", "--fp16", "--checkpoint", checkpoints, "--out", out)
    with short_trunk(), trace_once:
        assert rs_export(*arguments) == 0
    return out


def test_the_bundle_is_complete(bundle: Path) -> None:
    opened = read_bundle(bundle)
    opened.verify()
    manifest = opened.manifest
    assert manifest.model == "two_stage"
    assert set(manifest.domains) == {"sketch", "oil"}
    assert manifest.rank == 2
    assert manifest.generator_fingerprint == tiny_generator().fingerprint()
    assert manifest.reconstruction.mse_p99 == 0.1
    assert manifest.licences["generator"] == manifest.licences["domain oil"] == "CC0-1.0"
    assert set(manifest.parity) == {*manifest.roles, "inversion", "tolerances"}
    assert {golden.role for golden in manifest.golden} == set(manifest.roles)
    synthesis = [v for v in manifest.roles["synthesis"].variants if v.engine == "onnxruntime"]
    assert [(v.form, v.precision, v.batch) for v in synthesis] == [
        ("cpu", "fp16_stored", 1),
        ("dense", "fp16_stored", "dynamic"),
    ]
    assert b"/tmp/" not in (bundle / "manifest.json").read_bytes()


def test_equal_golden_data_are_stored_once(bundle: Path) -> None:
    data = [path.read_bytes() for path in (bundle / "golden").rglob("*.npy")]
    assert len(set(data)) == len(data)
    golden = {own.role: own for own in read_bundle(bundle).manifest.golden}
    assert golden["refiner"].inputs["image"] == golden["base_inverter"].inputs["image"]


@pytest.mark.parametrize("provider", ["cpu", "openvino", "native"])
def test_the_golden_data_are_reproduced(bundle: Path, provider: str) -> None:
    if provider not in installed()[0]:
        pytest.skip(f"{provider} is not installed")
    opened = read_bundle(bundle)
    roles = RoleRunner(opened, EngineOptions(provider, threads=1))
    for golden in opened.manifest.golden:
        inputs = {name: _array(opened, path) for name, path in golden.inputs.items()}
        found = roles.run(golden.role, **inputs)
        for name, path in golden.outputs.items():
            expected = _array(opened, path).astype(np.float64)
            assert np.abs(found[name] - expected).max() <= golden.max_abs[name]
            assert expected.std() > 0


def _array(bundle: Bundle, path: str) -> np.ndarray:
    return np.load(bundle.root / path, allow_pickle=False)


MIXES = [["sketch"], [], ["oil=0.5", "sketch=-1"], [("oil", 2.0)], ["sketch", "sketch=0.25"]]
OWN = [1.0, 0.5, 1.0, 0.0, -1.0]


@pytest.mark.parametrize("provider", ["cpu", "openvino", "native"])
def test_a_mixed_batch_is_its_pictures_one_by_one(bundle: Path, provider: str) -> None:
    if provider not in installed()[0]:
        pytest.skip(f"{provider} is not installed")
    runtime = rs_runtime.load(bundle, provider=provider, threads=1)
    photos = list(np.random.default_rng(1).integers(0, 256, (5, 40, 40, 3), np.uint8))
    together = runtime.invert(photos, check=False).synthesize(MIXES, image_strength=OWN)
    for photo, mix, strength, picture in zip(photos, MIXES, OWN, together, strict=True):
        inversion = runtime.invert(photo, check=False)
        alone = inversion.synthesize(mix, image_strength=strength)
        assert np.abs(alone.astype(int) - picture).max() <= 1
        assert strength == 0.5 or np.abs(alone.astype(int) - inversion.reconstruction).max() > 1


@pytest.mark.nightly
@pytest.mark.parametrize("provider", ["cpu", "openvino", "native"])
def test_threads_with_mixed_domains_equal_serial_runs(bundle: Path, provider: str) -> None:
    """8 threads of 200 requests, then a soak: no growth of memory, files or threads."""
    if provider not in installed()[0]:
        pytest.skip(f"{provider} is not installed")
    runtime = rs_runtime.load(bundle, provider=provider, threads=1)
    photos = list(np.random.default_rng(1).integers(0, 256, (4, 40, 40, 3), np.uint8))
    inversion = runtime.invert(photos, check=False)
    requests = [[MIXES[(n + k) % len(MIXES)] for k in range(4)] for n in range(len(MIXES))]
    serial = [inversion.synthesize(request) for request in requests]

    def serve(thread: int) -> int:
        turns = [(thread + n) % len(requests) for n in range(200)]
        return sum(
            np.abs(inversion.synthesize(requests[n]).astype(int) - serial[n]).max() > 1
            for n in turns
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(serve, range(8))) == 0
    process = psutil.Process()
    before = process.memory_info().rss, process.num_fds(), process.num_threads()
    for n in range(1000):
        inversion.synthesize(requests[n % len(requests)])
    time.sleep(0.5)  # the last run's thread is on its way out
    after = process.memory_info().rss, process.num_fds(), process.num_threads()
    assert after[0] - before[0] < 20e6 and after[1] <= before[1] and after[2] <= before[2]


def test_the_runtime_takes_it(bundle: Path) -> None:
    runtime = rs_runtime.load(bundle)
    photo = np.random.default_rng(0).integers(0, 256, (61, 40, 3), np.uint8)
    inversion = runtime.invert(photo, check=False)
    plain, styled = inversion.synthesize(), inversion.synthesize(domains="sketch")
    assert plain.shape == (32, 32, 3)
    assert not np.array_equal(plain, styled)
    assert runtime.synth([1, 2]).shape == (2, 32, 32, 3)


@pytest.mark.usefixtures("quick")
def test_same_input_same_bytes(bundle: Path, checkpoints: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert rs_export("--model=two_stage", "--fp16", "--checkpoint", checkpoints, "--out", out) == 0
    assert content(out) == content(bundle)


@pytest.mark.usefixtures("quick")
def test_a_generator_alone(checkpoints: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "generator"
    file = checkpoints / "generator.safetensors"
    assert rs_export("--model=generator", "--checkpoint", file, "--out", out) == 0
    manifest = read_bundle(out).manifest
    assert set(manifest.roles) == {"mapping", "synthesis"}
    assert (manifest.rank, manifest.reconstruction) == (0, None)
    assert manifest.roles["synthesis"].variants[0].precision == "fp32"
    assert "rs-run invert" not in capsys.readouterr().out, "it cannot invert"


@pytest.fixture
def old(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that is already where the next one is to go."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    return folder


@pytest.mark.usefixtures("quick")
def test_beyond_tolerance_nothing_is_written(old, checkpoints, monkeypatch, capsys) -> None:
    before = content(old)
    plain = export.forms.expand

    def wrong(model, *form):
        result = plain(model, *form)
        for tensor in result.graph.initializer:
            if tensor.name == "b8.conv0.weight":
                value = onnx.numpy_helper.to_array(tensor) * np.float32(1.02)
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        return result

    monkeypatch.setattr(export.forms, "expand", wrong)
    assert rs_export("--model=two_stage", "--checkpoint", checkpoints, "--out", old) == 7
    message = capsys.readouterr().err
    assert "beyond its tolerance" in message
    assert "nothing was written" in message
    assert content(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["bundle"], "no leftovers"


@pytest.mark.usefixtures("quick")
def test_a_lossy_fp16_cast_is_refused(old, checkpoints, monkeypatch, capsys) -> None:
    before = content(old)

    def coarse(model):
        result = precision.store_fp16(model)
        for tensor in result.graph.initializer:
            if tensor.name.endswith(".fp16"):
                value = np.round(onnx.numpy_helper.to_array(tensor) * 8) / 8
                value = value.astype(np.float16)
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        return result

    monkeypatch.setattr(export, "store_fp16", coarse)
    arguments = ("--model=generator", "--fp16", "--checkpoint", checkpoints, "--out", old)
    assert rs_export(*arguments) == 7
    assert "at least 40 dB" in capsys.readouterr().err
    assert content(old) == before


def test_missing_checkpoints_of_the_demo(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sources, "DEMO", tmp_path)
    assert rs_export("--model=two_stage", "--out", tmp_path / "bundle") == 6
    assert "rs-train demo" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_missing_part(checkpoints, tmp_path, capsys) -> None:
    out = tmp_path / "bundle"
    file = checkpoints / "generator.safetensors"
    assert rs_export("--model=two_stage", "--checkpoint", file, "--out", out) == 2
    assert "base_inverter" in capsys.readouterr().err
    assert rs_export("--model=two_stage", "--checkpoint", tmp_path / "no", "--out", out) == 2
    assert not out.exists()


@pytest.mark.usefixtures("quick")
def test_parts_of_different_generators(checkpoints, tmp_path, capsys) -> None:
    other = tmp_path / "other.safetensors"
    model = sources.load_model(checkpoints / "refiner.safetensors")
    save_model(other, model, {"generator_fingerprint": "0" * 64})
    arguments = ("--checkpoint", checkpoints, "--checkpoint", other, "--out", tmp_path / "b")
    assert rs_export("--model=two_stage", *arguments) == 5
    assert "another generator" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_domain_of_another_generator(checkpoints, tmp_path, capsys) -> None:
    foreign = tmp_path / "foreign.tokens"
    write_token_set(foreign, domain_of(tiny_generator(seed=1), "foreign"))
    arguments = ("--checkpoint", checkpoints, "--domain", foreign, "--out", tmp_path / "b")
    assert rs_export("--model=generator", *arguments) == 5
    assert not (tmp_path / "b").exists()


def test_a_saved_picture_is_no_domain(parts, checkpoints, tmp_path) -> None:
    picture = tmp_path / "me.tokens"
    write_token_set(picture, replace(domain_of(parts.generator, "me"), kind="image"))
    chosen = sources.find_sources("generator", [checkpoints], [picture])
    with pytest.raises(UsageError, match="not a domain"):
        sources.load_parts(chosen)


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path, capsys) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert rs_export("--model=two_stage", "--out", tmp_path) == 2
    assert "not a bundle" in capsys.readouterr().err
    assert content(tmp_path) == {"thesis.txt": b"years of work"}


def test_without_pytorch(tmp_path, monkeypatch, capsys) -> None:
    for name in [n for n in sys.modules if n.startswith(("rs_export.export", "rs_export.graphs"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert rs_export("--model=two_stage", "--out", tmp_path / "bundle") == 6
    assert "[export]" in capsys.readouterr().err


def test_help_needs_neither_pytorch_nor_onnx() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, onnx=None, onnxruntime=None);"
        "from rs_export.cli import main; sys.argv = ['rs-export', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--model" in done.stdout


@pytest.mark.nightly
def test_two_processes_write_the_same_bytes(tmp_path) -> None:
    """The real command, other hash seeds and locales."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    save_checkpoints(folder)
    results = []
    for number, locale in enumerate(("C", "C.UTF-8")):
        out = tmp_path / f"bundle{number}"
        arguments = ["--model=two_stage", "--fp16", "--checkpoint", folder, "--out", out]
        subprocess.run(
            [sys.executable, "-m", "rs_export.cli", *map(str, arguments)],
            env={"PYTHONHASHSEED": str(number), "LC_ALL": locale, "PYTHONPATH": str(Path.cwd())},
            check=True,
        )
        results.append(content(out))
    assert results[0] == results[1]
