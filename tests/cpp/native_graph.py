"""Synthesis graphs for the native engine: constants alone, named as rs_export does."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

W_DIM = 4


def constants(channels: Mapping[int, int], w_dim: int = W_DIM) -> dict[str, np.ndarray]:
    """Random constants of a network with these channels at each size, from 4 on."""
    rng = np.random.default_rng(7)
    found: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        found[name] = (scale * rng.standard_normal(shape)).astype(np.float32)

    def add_affine(layer: str, width: int) -> None:
        add(f"{layer}.affine.weight", width, w_dim)
        add(f"{layer}.affine.bias", width)

    before = channels[4]
    add("const", before, 4, 4)
    for size, width in channels.items():
        block = f"b{size}"
        for layer in ("conv0", "conv1")[size == 4 :]:
            sides = (before, width) if layer == "conv0" else (width, before)
            add(f"{block}.{layer}.weight", *sides, 3, 3)
            add_affine(f"{block}.{layer}", before)
            add(f"{block}.{layer}.noise", size, size, scale=0.1)
            add(f"{block}.{layer}.bias", width, 1, 1, scale=0.1)
            before = width
        add(f"{block}.torgb.weight", 3, width, 1, 1, scale=0.2 / width**0.5)
        add_affine(f"{block}.torgb", width)
        add(f"{block}.torgb.bias", 3, 1, 1)
    return found


def tensor(name: str, value: np.ndarray) -> onnx.TensorProto:
    """A constant of a graph."""
    return numpy_helper.from_array(value, name)


def model(tensors: list[onnx.TensorProto]) -> bytes:
    """An ONNX file with these constants and no node."""
    graph = helper.make_graph([], "synthesis", [], [], tensors)
    return helper.make_model(graph).SerializeToString()


def build(channels: Mapping[int, int]) -> bytes:
    """A sound file."""
    return model([tensor(*item) for item in constants(channels).items()])
