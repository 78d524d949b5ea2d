"""The engine border: strict providers, plain errors, graphs from bytes, stoppable runs."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

from rs_runtime.contracts.errors import IncompatibleError, ResourceError, UsageError
from rs_runtime.contracts.roles import Variant
from rs_runtime.engines import onnxruntime_engine, openvino_engine
from rs_runtime.engines.base import EngineOptions, as_array
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.engines.select import Chosen, EngineSelection, open_engine

DOUBLE = parser.parse_model("""
<ir_version: 9, opset_import: ["" : 18]>
double (float[N, 2] x, float[N, 2] shift) => (float[N, 2] y, float[N, 2] z) {
    y = Add(x, x)
    z = Add(y, shift)
}
""").SerializeToString()
X = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
SHAPES = {"x": ["N", 2], "shift": ["N", 2]}


def doubling(provider: str) -> Chosen:
    engine = "openvino" if provider.startswith("openvino") else "onnxruntime"
    return Chosen(Variant("double.onnx", engine, "fp32", "plain", "dynamic"), DOUBLE, SHAPES)


def selection_of(*names: str, **options) -> EngineSelection:
    # The graphs here are of any kind, which the native engine does not take.
    return EngineSelection(EngineOptions(*names, **options), lambda provider: provider != "native")


@pytest.fixture
def without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    openvino_engine._core.cache_clear()
    yield
    openvino_engine._core.cache_clear()


def endless_graph() -> bytes:
    """A loop of 2^62 rounds over nothing."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["v", "v"], ["w"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["rounds", "", "x"], ["y"], body=body)],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [helper.make_tensor("rounds", TensorProto.INT64, [], [2**62])],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    return model.SerializeToString()


def test_runs_by_name_with_any_batch_and_memory_layout():
    engine = OnnxRuntimeEngine("double", DOUBLE, "cpu", threads=1)
    assert engine.provider == "cpu"
    outputs = engine.run({"shift": np.ones_like(X)[::-1], "x": np.asfortranarray(X)})
    assert set(outputs) == {"y", "z"}
    np.testing.assert_array_equal(outputs["y"], 2 * X)
    np.testing.assert_array_equal(outputs["z"], 2 * X + 1)


def test_wrong_inputs_are_named_and_the_session_stays_good():
    engine = OnnxRuntimeEngine("double", DOUBLE, "cpu")
    with pytest.raises(IncompatibleError, match="double"):
        engine.run({"x": X})
    for bad in (X[:, :1], X.astype(np.int32), X[0]):
        with pytest.raises(IncompatibleError, match="cannot run the graph 'double'"):
            engine.run({"x": bad, "shift": X})
    np.testing.assert_array_equal(engine.run({"x": X, "shift": X})["z"], 3 * X)


@pytest.mark.parametrize("graph", [b"", b"not a model", DOUBLE[: len(DOUBLE) // 2]])
def test_what_is_no_graph_is_refused(graph, capfd):
    with pytest.raises(IncompatibleError, match="cannot open the graph 'broken'"):
        OnnxRuntimeEngine("broken", graph, "cpu")
    assert capfd.readouterr() == ("", "")


def test_error_texts_carry_no_paths():
    model = onnx.load_from_string(DOUBLE)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(IncompatibleError) as refusal:
        OnnxRuntimeEngine("odd", model.SerializeToString(), "cpu")
    assert "NoSuchOperator" in str(refusal.value) and "/onnxruntime/" not in str(refusal.value)


def test_a_model_cannot_switch_profiling_on(tmp_path, monkeypatch):
    model = onnx.load_from_string(DOUBLE)
    model.metadata_props.add(key="ort_config", value='{"session_options": {"enable_profiling": 1}}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    engine = OnnxRuntimeEngine("sly", model.SerializeToString(), "cpu")
    engine.run({"x": X, "shift": X})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("provider", ["cuda", "rocm", "coreml"])
def test_a_named_provider_that_is_absent_is_an_error(provider, monkeypatch):
    monkeypatch.setattr(onnxruntime_engine, "available_providers", lambda: ["cpu"])
    with pytest.raises(ResourceError) as refusal:
        selection_of(provider)
    text = str(refusal.value)
    assert provider in text and "found cpu" in text and "install" in text


def test_a_named_provider_that_does_not_start_is_an_error(monkeypatch):
    # Built in, as far as the list says, but the session comes up with another one.
    monkeypatch.setattr(onnxruntime_engine, "available_providers", lambda: ["cuda", "cpu"])
    monkeypatch.setitem(onnxruntime_engine.PROVIDERS, "cuda", "AzureExecutionProvider")
    monkeypatch.setattr("onnxruntime.InferenceSession.get_providers", lambda self: ["Other"])
    with pytest.raises(ResourceError, match="did not start"):
        selection_of("cuda").open("double", doubling)


@pytest.fixture
def bound(monkeypatch):
    """The engine as on a GPU, with the host's memory for the device's."""
    monkeypatch.setitem(onnxruntime_engine._DEVICES, "cpu", "cpu")
    return OnnxRuntimeEngine("double", DOUBLE, "cpu", threads=1)


def test_bound_inputs_and_outputs_give_the_same(bound):
    shift = np.ones_like(X)
    expected = OnnxRuntimeEngine("double", DOUBLE, "cpu", threads=1).run({"x": X, "shift": shift})
    outputs = bound.run({"shift": shift[::-1], "x": np.asfortranarray(X)})
    for name in ("y", "z"):
        np.testing.assert_array_equal(outputs[name], expected[name])
    for bad in (X[:, :1], X.astype(np.int32), X[0]):
        with pytest.raises(IncompatibleError, match="cannot run the graph 'double'"):
            bound.run({"x": bad, "shift": X})


def test_a_kept_output_goes_from_graph_to_graph_on_the_device(bound):
    first = bound.run({"x": X, "shift": X}, keep=("y",))
    assert isinstance(first["z"], np.ndarray) and not isinstance(first["y"], np.ndarray)
    second = bound.run({"x": first["y"], "shift": X}, keep=("y",))
    np.testing.assert_array_equal(as_array(second["y"]), 4 * X)
    np.testing.assert_array_equal(second["z"], 5 * X)
    # An engine without memory of its own gives arrays and takes what another one kept.
    plain = OnnxRuntimeEngine("double", DOUBLE, "cpu", threads=1)
    outputs = plain.run({"x": first["y"], "shift": X}, keep=("y",))
    np.testing.assert_array_equal(outputs["y"], 4 * X)


def test_a_provider_that_leaves_the_work_to_the_cpu_is_refused():
    def session(op_types):
        nodes = [SimpleNamespace(op_type=op_type) for op_type in op_types]
        part = SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes)
        return SimpleNamespace(get_provider_graph_assignment_info=lambda: [part])

    onnxruntime_engine._require_work(session(["Shape", "Slice", "Concat"]), "synthesis", "cuda")
    with pytest.raises(ResourceError, match="leave parts of the graph 'synthesis' to the CPU"):
        onnxruntime_engine._require_work(session(["Shape", "Conv"]), "synthesis", "cuda")


def test_onnx_runtime_says_what_runs_where():
    """The record that the refusal above relies on."""
    ort = pytest.importorskip("onnxruntime")
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime keeps no such record")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(DOUBLE, options, providers=["CPUExecutionProvider"])
    found = {
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    }
    assert found == {("CPUExecutionProvider", "Add")}


def test_auto_says_what_it_chose_and_why(monkeypatch, without_openvino):
    monkeypatch.setattr(onnxruntime_engine, "available_providers", lambda: ["cuda", "cpu"])
    opened = []

    def open_engine(label, graph, provider, threads, *, beside_another):
        opened.append((provider, threads))
        assert not beside_another
        if provider == "cuda":
            raise ResourceError("did not start", found="no driver")
        return OnnxRuntimeEngine(label, graph, provider, threads)

    monkeypatch.setattr(onnxruntime_engine, "OnnxRuntimeEngine", open_engine)
    monkeypatch.setattr(onnxruntime_engine, "require_built", lambda provider: None)
    selection = selection_of("auto", threads=1)
    assert selection.note == "" and selection.provider is None
    engine, variant = selection.open("double", doubling)
    assert (engine.provider, variant.engine) == ("cpu", "onnxruntime")
    assert selection.note.startswith("provider: cpu (auto, of cuda, cpu")
    assert selection.note.endswith("; cuda: no driver)")
    selection.open("double", doubling)
    assert opened == [("cuda", 1), ("cpu", 1), ("cpu", 1)]


def test_what_the_native_engine_leaves_runs_without_threads_that_turn_on(monkeypatch):
    opened = []
    monkeypatch.setattr(
        onnxruntime_engine,
        "OnnxRuntimeEngine",
        lambda *arguments, **named: opened.append((*arguments[2:], named)),
    )
    open_engine("native", "double", doubling("cpu"), threads=1)
    assert opened == [("cpu", 1, {"beside_another": True})]


def test_auto_takes_the_fastest_engine_that_the_bundle_has_graphs_for():
    pytest.importorskip("openvino")
    engine, _ = selection_of("auto", threads=1).open("double", doubling)
    assert engine.provider == "openvino"
    selection = EngineSelection(EngineOptions("auto", threads=1), lambda name: name == "cpu")
    engine, _ = selection.open("double", doubling)
    assert engine.provider == "cpu" and selection.note.startswith("provider: cpu (auto, of ")
    with pytest.raises(ResourceError, match="has graphs for"):
        EngineSelection(EngineOptions("auto"), lambda name: False).open("double", doubling)


def test_unknown_provider_and_bad_threads_are_usage_errors():
    with pytest.raises(UsageError, match="did you mean cuda"):
        selection_of("cudda")
    with pytest.raises(UsageError, match="threads"):
        selection_of("cpu", threads=0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_long_run_promptly(number, code, tmp_path):
    (tmp_path / "endless.onnx").write_bytes(endless_graph())
    script = """
import sys, click, numpy as np
from rs_runtime.cli import run
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

@click.command()
def endless():
    engine = OnnxRuntimeEngine("endless", open(sys.argv[1], "rb").read(), "cpu", threads=1)
    print("running", flush=True)
    engine.run({"x": np.ones(2, np.float32)})

run(endless, "test", [])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "endless.onnx")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell that runs the tests in the background lets them inherit an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout.readline() == "running\n"
        time.sleep(0.2)
        sent = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == code
    assert time.monotonic() - sent < 5
    assert stderr.strip() == f"test: {'interrupted' if code == 130 else 'terminated'}"
