"""The 3x3 convolutions of the published network one by one: direct in OpenVINO, Winograd in ncnn.

    pip install ncnn && python benchmarks/winograd.py --json FILE

ncnn's times include taking its blocked result apart. `matrix_peak_gmacs` is what a product of two
matrices reaches in OpenVINO on this machine, the most that a direct convolution can.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.options import parser_for
from benchmarks.rounds import Arm, publish, take_turns
from rs_runtime.diagnostics.machine import machine_facts

# (channels, side) of the layers that keep the size.
LAYERS = ((512, 16), (512, 32), (512, 64), (256, 128), (128, 256), (64, 512), (32, 1024))
MATRIX = 2048


def main() -> None:
    """Parse the options, time every layer, print and write the figures."""
    options = parser_for(__doc__, rounds=7, threads=2).parse_args()
    rng = np.random.default_rng(0)
    arms: dict[str, Arm] = {}
    macs: dict[str, int] = {}
    for channels, side in LAYERS:
        x = rng.standard_normal((1, channels, side, side), np.float32)
        kernel = rng.standard_normal((channels, channels, 3, 3), np.float32)
        kernel /= np.float32(3 * np.sqrt(channels))
        for engine, make in (("openvino", _openvino), ("ncnn", _ncnn)):
            name = f"{engine} {channels} at {side}"
            macs[name] = kernel.size * side**2
            arms[name] = make(x, kernel, options.threads)
    macs["matrix"] = MATRIX**3
    arms["matrix"] = matrices(options.threads)
    seconds = take_turns(arms, options.rounds, lambda line: print(line, file=sys.stderr))
    least = {name: min(values) for name, values in seconds.items()}
    report = {
        "least_ms": {name: round(1000 * value, 3) for name, value in least.items()},
        "gmacs": {name: round(macs[name] / value / 1e9, 1) for name, value in least.items()},
        "matrix_peak_gmacs": round(macs["matrix"] / least["matrix"] / 1e9, 1),
        "threads": options.threads,
        "machine": machine_facts(),
    }
    publish(report, options.json)


def _openvino(x: np.ndarray, kernel: np.ndarray, threads: int) -> Arm:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])
    return _run_node(node, {"x": x}, {"kernel": kernel}, threads)


def matrices(threads: int) -> Arm:
    """A product of two square matrices in OpenVINO."""
    square = np.random.default_rng(1).standard_normal((MATRIX, MATRIX), np.float32)
    node = helper.make_node("MatMul", ["x", "kernel"], ["y"])
    return _run_node(node, {"x": square}, {"kernel": square.T.copy()}, threads)


def _run_node(node: Any, inputs: dict[str, np.ndarray], constants: Any, threads: int) -> Arm:
    def value(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    values = [value(name, array.shape) for name, array in inputs.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "one", values, [value("y", inputs["x"].shape)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}
    read = core.read_model(model.SerializeToString(), b"")
    request = core.compile_model(read, "CPU", config).create_infer_request()
    return lambda: request.infer(inputs)


def _ncnn(x: np.ndarray, kernel: np.ndarray, threads: int) -> Arm:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{half}", False)
    _, channels, side, _ = x.shape
    sizes = f"0={channels} 1=3 4=1 5=0 6={kernel.size}"
    lines = (
        "7767517",
        "2 2",
        f"Input x 0 1 x 0={side} 1={side} 2={channels}",
        f"Convolution y 1 1 x y {sizes}",
    )
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "param", Path(folder) / "bin"
        param.write_text("\n".join(lines) + "\n", encoding="ascii")
        weights.write_bytes(bytes(4) + kernel.tobytes())  # four bytes: stored as fp32
        net.load_param(str(param))
        net.load_model(str(weights))
    given = ncnn.Mat(x[0]).clone()

    def work() -> None:
        with net.create_extractor() as extractor:
            extractor.input("x", given)
            extractor.extract("y")

    return work


if __name__ == "__main__":
    main()
