"""Other ways to run the same network on a CPU, for those who have them installed.

A peer that is missing, or does not take the network, is left out with a line that says why. ncnn is
not among them: of the 2026 October wheels, pnnx converts the network and ncnn crashes running it;
`winograd.py` has its convolutions one by one.
"""

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks.rounds import Arm

Inputs = dict[str, np.ndarray]


class MissingPeer(Exception):
    """Says why a peer cannot be measured here."""


def present(makers: dict[str, Callable[[], Arm]]) -> dict[str, Arm]:
    """Make the arms of the peers that are there; a line for each of the others."""
    arms = {}
    for name, make in makers.items():
        try:
            arms[name] = make()
        except (MissingPeer, ImportError) as error:
            print(f"without {name}: {error}", file=sys.stderr)
    return arms


def mnn(graph: bytes, inputs: Inputs, threads: int) -> Arm:
    """MNN with the graph as its converter takes it (Winograd kernels, fp32)."""
    expr, nn = import_module("MNN.expr"), import_module("MNN.nn")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "graph.onnx", Path(folder) / "graph.mnn"
        source.write_bytes(graph)
        _convert("mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", target)
        if not target.is_file():
            raise MissingPeer("its converter gave no file")
        config = {"backend": "CPU", "precision": "high", "numThread": threads}
        runtime = nn.create_runtime_manager((config,))
        module = nn.load_module_from_file(
            str(target), list(inputs), ["image_float"], runtime_manager=runtime
        )
    values = [expr.const(value, value.shape, expr.NCHW, expr.float) for value in inputs.values()]

    def work() -> np.ndarray:
        (image,) = module.forward(values)
        return image.read().copy()  # what read() returns dies with the image

    return work


def rosinality(checkout: Path | None, size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The generator that the paper's code starts from, unrefined, in eager PyTorch, fp32.

    Args:
        checkout: A clone of github.com/rosinality/stylegan2-pytorch.
        size: Side R of the picture.

    Returns:
        Draws w_plus [N, num_ws, 512] as [N, 3, R, R], its noise the same every time.
    """
    if checkout is None:
        raise MissingPeer("give a clone of it with --rosinality")
    with _importing_from(checkout):
        generator = import_module("model").Generator(size, 512, 1).eval()

    def draw(w_plus: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return generator([w_plus], input_is_latent=True, randomize_noise=False)[0]

    return draw


@contextmanager
def _importing_from(checkout: Path) -> Iterator[None]:
    # At import it compiles CUDA extensions, which nothing on a CPU calls.
    path = mock.patch.object(sys, "path", [str(checkout), *sys.path])
    with path, mock.patch("torch.utils.cpp_extension.load"):
        yield


def _convert(program: str, *arguments: object) -> None:
    path = Path(sysconfig.get_path("scripts")) / program
    if not path.is_file():
        raise MissingPeer(f"{program} is not installed")
    command = [str(path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingPeer(f"{program} ended with {done.returncode}: {done.stderr[-200:]}")
