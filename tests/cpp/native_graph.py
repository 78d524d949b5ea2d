"""Graphs for the native engine: constants alone, named as rs_export does."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

W_DIM = 4
_UNITS_OF_STAGES = (3, 4, 14, 3)  # IR-SE50


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


def trunk_constants(channels: Sequence[int], channels_in: int = 3) -> dict[str, np.ndarray]:
    """Random constants of an encoder's trunk.

    Args:
        channels: Of the first layer, and of the four stages.
        channels_in: Of the picture.
    """
    rng = np.random.default_rng(7)
    found: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        found[name] = (scale * rng.standard_normal(shape)).astype(np.float32)

    def add_conv(name: str, out: int, width: int, side: int) -> None:
        add(f"{name}.weight", out, width, side, side, scale=1 / (side * width**0.5))
        add(f"{name}.bias", out, scale=0.1)

    before = channels[0]
    add_conv("trunk.input", before, channels_in, 3)
    add("trunk.input.slope", 1, before, 1, 1)
    stages = zip(_UNITS_OF_STAGES, channels[1:], strict=True)
    for index, width in enumerate(width for count, width in stages for _ in range(count)):
        unit = f"trunk.units.{index}"
        for part in ("weight", "bias", "mean"):
            add(f"{unit}.norm.{part}", before)
        found[f"{unit}.norm.variance"] = np.full(before, 4, np.float32)
        add_conv(f"{unit}.conv1", width, before, 3)
        add(f"{unit}.slope", 1, width, 1, 1)
        add_conv(f"{unit}.conv2", width, width, 3)
        if width != before:
            add_conv(f"{unit}.projection", width, before, 1)
        squeezed = -(-width // 16)
        add(f"{unit}.gate.reduce", squeezed, width, 1, 1)
        add(f"{unit}.gate.expand", width, squeezed, 1, 1)
        before = width
    return found


def tensor(name: str, value: np.ndarray) -> onnx.TensorProto:
    """A constant of a graph."""
    return numpy_helper.from_array(value, name)


def model(tensors: list[onnx.TensorProto]) -> bytes:
    """An ONNX file with these constants and no node."""
    graph = helper.make_graph([], "synthesis", [], [], tensors)
    return helper.make_model(graph).SerializeToString()


def file_of(constants: Mapping[str, np.ndarray]) -> bytes:
    """A file with these constants."""
    return model([tensor(*item) for item in constants.items()])


def build(channels: Mapping[int, int]) -> bytes:
    """A sound file of a synthesis network."""
    return file_of(constants(channels))


def build_trunk(channels: Sequence[int], channels_in: int = 3) -> bytes:
    """A sound file of a trunk."""
    return file_of(trunk_constants(channels, channels_in))
