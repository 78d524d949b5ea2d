"""OpenVINO at the engine border: its precision insisted on, plain errors, stoppable runs."""

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from onnx import parser

from rs_runtime.contracts.errors import IncompatibleError, ResourceError
from rs_runtime.engines import openvino_engine
from rs_runtime.engines.openvino_engine import OpenVinoEngine
from tests.runtime.test_engines import DOUBLE, X

pytest.importorskip("openvino")
SLOW = """
<ir_version: 9, opset_import: ["" : 18]>
slow (float[1, 32, 256, 256] x) => (float[1, 32, 256, 256] y)
<float[32, 32, 7, 7] w>
{
    STEPS
    y = Relu(xLAST)
}
"""


def test_runs_by_name_with_any_batch_and_memory_layout():
    engine = OpenVinoEngine("double", DOUBLE, "openvino", threads=1)
    assert engine.provider == "openvino"
    outputs = engine.run({"shift": np.ones_like(X)[::-1], "x": np.asfortranarray(X)})
    np.testing.assert_array_equal(outputs["y"], 2 * X)
    np.testing.assert_array_equal(outputs["z"], 2 * X + 1)
    # What was given out is not written over by the next run.
    engine.run({"x": np.zeros_like(X), "shift": X})
    np.testing.assert_array_equal(outputs["y"], 2 * X)


def test_wrong_inputs_are_named_and_the_graph_stays_good():
    engine = OpenVinoEngine("double", DOUBLE, "openvino", 1, {"x": ["N", 2], "shift": [3, 2]})
    with pytest.raises(IncompatibleError, match="other inputs"):
        engine.run({"x": X})
    for bad in (X[:, :1], X.astype(np.int32), X[0]):
        with pytest.raises(IncompatibleError, match="cannot run the graph 'double'"):
            engine.run({"x": bad, "shift": X})
    with pytest.raises(IncompatibleError, match="input shift"):
        engine.run({"x": X[:1], "shift": X[:1]})
    np.testing.assert_array_equal(engine.run({"x": X, "shift": X})["z"], 3 * X)


@pytest.mark.parametrize("graph", [b"", b"not a model", DOUBLE[: len(DOUBLE) // 2]])
def test_what_is_no_graph_is_refused(graph, capfd):
    with pytest.raises(IncompatibleError, match="cannot open the graph 'broken'") as refusal:
        OpenVinoEngine("broken", graph, "openvino")
    assert "src/" not in str(refusal.value) and capfd.readouterr() == ("", "")


def test_the_precision_is_always_said_and_insisted_on(monkeypatch):
    engine = OpenVinoEngine("double", DOUBLE, "openvino")
    assert engine._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    monkeypatch.setitem(openvino_engine.PROVIDERS, "openvino", "bf16")
    monkeypatch.setattr(openvino_engine, "available_providers", lambda: ["openvino"])
    monkeypatch.setattr("openvino.CompiledModel.get_property", lambda self, name: _Type())
    with pytest.raises(ResourceError, match="in another precision"):
        OpenVinoEngine("double", DOUBLE, "openvino")


class _Type:
    def get_type_name(self) -> str:
        return "f16"


def test_bf16_needs_a_cpu_that_has_it(monkeypatch):
    monkeypatch.setattr(openvino_engine, "available_providers", lambda: ["openvino"])
    with pytest.raises(ResourceError, match="bf16 instructions") as refusal:
        OpenVinoEngine("double", DOUBLE, "openvino-bf16")
    assert "use --provider openvino" in str(refusal.value)


def test_without_openvino_the_install_line_is_shown():
    script = (
        "import sys; sys.modules['openvino'] = None\n"
        "from rs_runtime.engines.openvino_engine import available_providers\n"
        "try:\n    available_providers()\n"
        "except Exception as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'pip install ".[openvino]"' in done.stdout


def test_threads_run_side_by_side():
    engine = OpenVinoEngine("double", DOUBLE, "openvino", threads=1)
    wrong = []

    def work(seed: int) -> None:
        for n in range(50):
            x = np.full((1 + seed % 3, 2), 100 * seed + n, np.float32)
            if not np.array_equal(engine.run({"x": x, "shift": x})["z"], 3 * x):
                wrong.append((seed, n))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and engine._idle.qsize() <= 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_long_run_promptly(number, code, tmp_path):
    lines = [f"x{n + 1} = Conv<pads = [3, 3, 3, 3]>(x{n}, w)" for n in range(600)]
    text = SLOW.replace("STEPS", "\n    ".join(lines)).replace("x0", "x").replace("LAST", "600")
    (tmp_path / "slow.onnx").write_bytes(_with_weights(text))
    script = """
import sys, click, numpy as np
from rs_runtime.cli import run
from rs_runtime.engines.openvino_engine import OpenVinoEngine

@click.command()
def slow():
    engine = OpenVinoEngine("slow", open(sys.argv[1], "rb").read(), "openvino", threads=1)
    x = np.zeros((1, 32, 256, 256), np.float32)
    print("running", flush=True)
    engine.run({"x": x})

run(slow, "test", [])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "slow.onnx")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout.readline() == "running\n"
        time.sleep(0.3)
        sent = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, stderr
    assert time.monotonic() - sent < 20
    assert stderr.strip() == f"test: {'interrupted' if code == 130 else 'terminated'}"


def _with_weights(text: str) -> bytes:
    import onnx

    model = parser.parse_model(text)
    weight = onnx.numpy_helper.from_array(np.zeros((32, 32, 7, 7), np.float32), "w")
    del model.graph.initializer[:]
    model.graph.initializer.append(weight)
    return model.SerializeToString()
