"""TensorRT's runner: what it refuses, and how it handles memory, contexts and errors.

Its device is `fake_gpu`, so nothing here says that TensorRT works; see docs/evidence.md.
"""

import ast
import gc
import inspect
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rs_runtime.contracts.engine_file import (
    EngineFile,
    PluginLibrary,
    Recipe,
    ShapeRange,
    engine_path,
    engines_folder,
)
from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, ResourceError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.manifest import FileEntry
from rs_runtime.contracts.roles import Role, TensorSpec, Variant
from rs_runtime.engines import cuda_memory, select, tensorrt_engine
from rs_runtime.engines.base import EngineOptions
from rs_runtime.engines.tensorrt_engine import TensorRtEngine
from rs_runtime.roles import choose_variant
from tests.runtime import fake_gpu
from tests.runtime.fake_gpu import Cuda, CudaError

GRAPH, PLAN, PLUGIN = b"a graph", b"a plan", b"a library"
X = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


@pytest.fixture
def cuda(monkeypatch) -> Cuda:
    made = Cuda()
    monkeypatch.setattr(cuda_memory, "runtime", lambda: made)
    return made


@pytest.fixture
def device(monkeypatch, cuda):
    """Makes the fake TensorRT importable, with one engine; caches of the process are emptied."""

    def with_engine(engine):
        for cache in (tensorrt_engine._log, tensorrt_engine._runtime):
            cache.cache_clear()
        tensorrt_engine._loaded.clear()
        module = fake_gpu.tensorrt(engine)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        return module

    yield with_engine
    for cache in (tensorrt_engine._log, tensorrt_engine._runtime):
        cache.cache_clear()


@pytest.fixture
def bundle(tmp_path, device):
    """Writes an engine with its sidecar for this machine beside a bundle that is not there."""
    folder = engines_folder(tmp_path / "b")
    folder.mkdir()
    device(fake_gpu.Engine())

    def write(plan=PLAN, plugin=None, **changed):
        machine = tensorrt_engine.this_machine()
        spec = TensorSpec("x", "float32", ("N", 2))
        profile = {"x": ShapeRange((1, 2), (1, 2), (4, 2))}
        sidecar = EngineFile(
            role="double",
            machine=replace(machine, **changed),
            recipe=Recipe(sha256_hex(GRAPH), "fp32", profile, (), plugin),
            inputs=(spec,),
            outputs=(replace(spec, name="y"),),
            engine=FileEntry(len(PLAN), sha256_hex(PLAN)),
            made={"when": "2026-11-20T00:00:00Z", "by": "a test"},
        )
        path = engine_path(folder, "double", sidecar.machine)
        path.write_bytes(plan)
        path.with_suffix(".json").write_bytes(sidecar.to_json())
        return tmp_path / "b"

    return write


def test_runs_by_name_with_any_batch_and_memory_layout(bundle) -> None:
    engine = TensorRtEngine("double", GRAPH, bundle())
    assert engine.provider == "tensorrt"
    for x in (X, X[:1], np.asfortranarray(X), X[::-1]):
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x)


def test_memory_is_allocated_once_and_freed_with_the_engine(bundle, cuda) -> None:
    engine = TensorRtEngine("double", GRAPH, bundle())
    for _ in range(3):
        engine.run({"x": X})
        engine.run({"x": X[:2]})
    assert cuda.allocations == [X.nbytes] * 2, "x and y; smaller shapes fit in"
    larger = np.concatenate([X, X[:1]])
    np.testing.assert_array_equal(engine.run({"x": larger})["y"], 2 * larger)
    assert cuda.allocations[2:] == [larger.nbytes] * 2
    assert len(cuda.memory) == 2, "what was too small is freed"
    del engine
    gc.collect()
    assert not cuda.memory and not cuda.streams


def test_results_are_the_caller_s_own(bundle) -> None:
    engine = TensorRtEngine("double", GRAPH, bundle())
    first = engine.run({"x": X})["y"]
    engine.run({"x": 10 * X})
    np.testing.assert_array_equal(first, 2 * X)


def test_runs_side_by_side_have_contexts_of_their_own(bundle, device, monkeypatch) -> None:
    made = fake_gpu.Engine()
    device(made)
    engine = TensorRtEngine("double", GRAPH, bundle())
    both = threading.Barrier(4)
    execute = fake_gpu.Context.execute_async_v3

    def together(self, stream):
        both.wait(10)
        return execute(self, stream)

    monkeypatch.setattr(fake_gpu.Context, "execute_async_v3", together)
    found = {}

    def serve(n):
        found[n] = engine.run({"x": n * X})["y"]

    for _ in range(2):
        threads = [threading.Thread(target=serve, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        for n in range(4):
            np.testing.assert_array_equal(found[n], 2 * n * X)
    assert len(made.contexts) == 4, "kept for the next runs"


def test_inputs_that_it_was_not_built_for(bundle) -> None:
    engine = TensorRtEngine("double", GRAPH, bundle())
    with pytest.raises(IncompatibleError, match="other inputs"):
        engine.run({"z": X})
    for bad in (np.zeros((5, 2), np.float32), X[:0], X[:, :1], X[0], X.astype(np.float64)):
        with pytest.raises(IncompatibleError, match=r"not built for this input: x"):
            engine.run({"x": bad})


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("tensorrt", "10.16.1.12"),
        ("gpu", "Imaginary 9001"),
        ("compute_capability", "8.7"),
        ("cuda_driver", "12.6"),
        ("platform", "linux-aarch64"),
    ],
)
def test_an_engine_of_another_machine_is_refused_unopened(part, value, bundle, device) -> None:
    root = bundle(**{part: value})
    module = device(fake_gpu.Engine())
    with pytest.raises(IncompatibleError) as refusal:
        TensorRtEngine("double", GRAPH, root)
    text = str(refusal.value)
    assert value in text and "rs-export --engine" in text
    assert refusal.value.exit_code == 5
    assert module.Runtime.seen == []


def test_an_engine_of_another_graph_is_refused_unopened(bundle, device) -> None:
    root = bundle()
    module = device(fake_gpu.Engine())
    with pytest.raises(IncompatibleError, match="graph"):
        TensorRtEngine("double", b"another graph", root)
    assert module.Runtime.seen == []


def test_a_damaged_engine_is_refused_unopened(bundle, device) -> None:
    root = bundle(plan=b"a plaN")
    module = device(fake_gpu.Engine())
    with pytest.raises(MalformedFileError, match="sidecar lists"):
        TensorRtEngine("double", GRAPH, root)
    assert module.Runtime.seen == []


def test_without_an_engine_the_command_that_builds_one_is_named(tmp_path, device) -> None:
    device(fake_gpu.Engine())
    with pytest.raises(ResourceError, match="no engine was built") as refusal:
        TensorRtEngine("double", GRAPH, tmp_path / "b")
    assert "rs-export --engine" in refusal.value.hint


def test_an_engine_that_tensorrt_refuses(bundle, device) -> None:
    root = bundle()
    device(None)
    with pytest.raises(IncompatibleError, match="magicTag does not match"):
        TensorRtEngine("double", GRAPH, root)


def test_an_engine_with_other_tensors_than_its_sidecar_says(bundle, device) -> None:
    root = bundle()
    for tensors in ([("x", "INPUT"), ("z", "OUTPUT")], [("x", "OUTPUT"), ("y", "INPUT")]):
        device(fake_gpu.Engine(tensors))
        with pytest.raises(IncompatibleError, match="other tensors"):
            TensorRtEngine("double", GRAPH, root)


def test_plugins_are_checked_and_loaded_once(bundle, device) -> None:
    plugin = PluginLibrary("plugin.so", "1", sha256_hex(PLUGIN))
    root = bundle(plugin=plugin)
    module = device(fake_gpu.Engine())
    library = engines_folder(root) / "plugin.so"
    library.write_bytes(b"another")
    with pytest.raises(MalformedFileError):
        TensorRtEngine("double", GRAPH, root)
    assert module.Registry.loaded == []
    library.write_bytes(PLUGIN)
    for _ in range(2):
        TensorRtEngine("double", GRAPH, root)
    assert module.Registry.loaded == [str(library)]


def test_a_run_that_fails_is_reported_and_its_memory_not_used_again(bundle, device, cuda) -> None:
    made = fake_gpu.Engine()
    device(made)
    engine = TensorRtEngine("double", GRAPH, bundle())
    made.accepts = False
    with pytest.raises(IncompatibleError, match="cannot run the engine 'double'"):
        engine.run({"x": X})
    made.accepts = True
    for function, status in (
        ("cudaMalloc", CudaError.cudaErrorMemoryAllocation),
        ("cudaStreamSynchronize", CudaError.cudaErrorIllegalAddress),
    ):
        cuda.fail = {function: status}
        with pytest.raises(ResourceError, match=r"memory|cudaStreamSynchronize"):
            engine.run({"x": X})
    cuda.fail = {}
    np.testing.assert_array_equal(engine.run({"x": X})["y"], 2 * X)
    gc.collect()
    assert len(cuda.memory) == 2


def test_without_a_gpu_or_tensorrt(device, cuda, monkeypatch) -> None:
    device(fake_gpu.Engine())
    cuda.fail = {"cudaGetDevice": CudaError.cudaErrorNoDevice}
    with pytest.raises(ResourceError, match="no NVIDIA GPU") as refusal:
        tensorrt_engine.available_providers()
    assert "nvidia-smi" in refusal.value.hint
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ResourceError, match="TensorRT is not installed") as refusal:
        select.EngineSelection(EngineOptions("tensorrt"), lambda name: True)
    assert refusal.value.exit_code == 6 and '".[cpu,tensorrt]"' in refusal.value.hint


def test_auto_never_takes_it(device) -> None:
    device(fake_gpu.Engine())
    assert "tensorrt" in select.installed()[0]
    selection = select.EngineSelection(EngineOptions("auto"), lambda name: True)
    assert "tensorrt" not in selection._order


def test_what_is_too_small_for_an_engine_runs_on_the_cpu() -> None:
    specs = (TensorSpec("x", "float32", ("N", 2)),)
    flat = Variant("a.onnx", "onnxruntime", "fp32", "plain", "dynamic")
    built = Variant("b.onnx", "tensorrt", "fp16", "plugin", "dynamic")
    assert choose_variant("mapping", Role(specs, specs, (flat,)), "tensorrt") == flat
    assert choose_variant("synthesis", Role(specs, specs, (flat, built)), "tensorrt") == built
    with pytest.raises(IncompatibleError, match="tensorrt"):
        choose_variant("synthesis", Role(specs, specs, (flat,)), "tensorrt")
    engine = select.open_engine("tensorrt", "double", select.Chosen(flat, _one_node(), {}))
    assert engine.provider == "cpu"


def _one_node() -> bytes:
    from rs_runtime.diagnostics.doctor import _ONE_NODE

    return _ONE_NODE


def cuda_names() -> set[str]:
    """Every name of CUDA's runtime in the code: attributes, and functions called by name."""
    found = set()
    for module in (cuda_memory, tensorrt_engine):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            if isinstance(name, str) and name.startswith("cuda") and name.isidentifier():
                found.add(name)
    return found - {"cuda_memory"}


def test_every_cuda_name_is_in_the_genuine_bindings() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings")
    kinds = (runtime, runtime.cudaError_t, runtime.cudaMemcpyKind)
    names = cuda_names()
    assert {"cudaMalloc", "cudaMemcpyAsync", "cudaStreamSynchronize"} <= names
    assert [name for name in names if not any(hasattr(kind, name) for kind in kinds)] == []
    properties = runtime.cudaDeviceProp()
    assert isinstance(bytes(properties.name), bytes)
    assert (properties.major, properties.minor) == (0, 0)


@pytest.fixture
def genuine():
    """NVIDIA's bindings, whose functions refuse for want of a driver once they have taken their
    arguments."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings")
    try:
        cuda_memory.call("cudaGetDeviceCount")
    except ResourceError:
        return runtime
    pytest.skip("there is a GPU")


def test_the_genuine_bindings_say_what_is_missing(genuine) -> None:
    with pytest.raises(ResourceError, match="no NVIDIA GPU, or its driver is missing"):
        cuda_memory.device_name()


def test_the_genuine_bindings_take_our_arguments(genuine) -> None:
    stream = object.__new__(cuda_memory.Stream)
    stream._stream = genuine.cudaStream_t(0)
    assert int(stream._stream) == 0
    buffer = SimpleNamespace(address=X.ctypes.data)
    for use in (
        cuda_memory.Stream,
        lambda: cuda_memory.Buffer(16),
        lambda: stream.upload(X, buffer),
        lambda: stream.download(buffer, X),
        stream.wait,
        lambda: cuda_memory.call("cudaSetDevice", 0),
        lambda: cuda_memory.call("cudaFree", X.ctypes.data),
        lambda: cuda_memory.call("cudaStreamDestroy", stream._stream),
    ):
        with pytest.raises(ResourceError):
            use()
