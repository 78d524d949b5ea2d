"""Polygraphy on our files: as TensorRT is compared with ONNX Runtime, here with itself."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from rs_export.forms import expand
from rs_export.plugin_bodies import DOMAIN
from rs_export.portable import finish
from rs_export.tensorrt_graph import plugin_graph


def polygraphy(*arguments: object) -> str:
    """Run the command; what it printed."""
    command = [Path(sys.executable).with_name("polygraphy"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, traced: dict[str, onnx.ModelProto]) -> Path:
    """A synthesis with plugin nodes and functions, and in the dense form; an encoder."""
    folder = tmp_path_factory.mktemp("graphs")
    plugins = finish(plugin_graph(traced["synthesis"], 12), "synthesis", domain=DOMAIN)
    onnx.save(plugins, folder / "plugins.onnx")
    onnx.save(finish(expand(traced["synthesis"]), "synthesis"), folder / "dense.onnx")
    onnx.save(finish(traced["base_inverter"], "base_inverter"), folder / "base_inverter.onnx")
    return folder


def test_results_are_saved_and_compared(files: Path, traced: dict[str, onnx.ModelProto]) -> None:
    free = {"N": 2, "L": 3}
    shapes = []
    for value in traced["synthesis"].graph.input:
        sides = [
            side.dim_value or free[side.dim_param] for side in value.type.tensor_type.shape.dim
        ]
        shapes.append(f"{value.name}:{sides}".replace(" ", ""))
    saved = ["--save-inputs", files / "inputs.json", "--save-outputs", files / "outputs.json"]
    values = ["--input-shapes", *shapes, "--val-range", "[-0.2,0.2]", "modulation:[0.9,1.1]"]
    polygraphy("run", files / "dense.onnx", "--onnxrt", *values, *saved)
    loaded = ["--load-inputs", files / "inputs.json", "--load-outputs", files / "outputs.json"]
    limits = ["--rtol", 0, "--atol", "image:1", "image_float:1e-3"]
    printed = polygraphy("run", files / "plugins.onnx", "--onnxrt", *loaded, *limits)
    assert "All outputs matched" in printed


def test_an_encoder_runs(files: Path) -> None:
    printed = polygraphy("run", files / "base_inverter.onnx", "--onnxrt")
    assert "PASSED" in printed and "w_plus" in printed


def test_models_are_shown(files: Path) -> None:
    printed = polygraphy("inspect", "model", files / "plugins.onnx", "--show", "layers")
    assert "modulation" in printed and "RefineEpilogueUp" in printed
