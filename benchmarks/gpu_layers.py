"""Times of single refined layers: the kernel, its function body, grouped convolution, the floor."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_fused import last, shared
from benchmarks.gpu_operator import GAIN, SLOPE, blur, body, fused
from benchmarks.gpu_run import RANKS, Run
from benchmarks.gpu_synthesis import (
    Inputs,
    LayerWeights,
    Network,
    demodulation,
    grouped,
    residual_kernel,
    style_of,
)
from benchmarks.gpu_timing import seconds
from rs_runtime.contracts.layers import Layer

L2_MULTIPLE, MOST_SETS = 3, 24


@dataclass(frozen=True)
class Sizes:
    """What of a layer the operator sees."""

    geometry: str
    batch: int
    channels: int
    side: int  # of the output

    @property
    def base_shape(self) -> tuple[int, ...]:
        side = self.side + (1 if self.geometry == "up" else 0)
        return (self.batch, self.channels, side, side)

    def residual_shape(self, channels: int) -> tuple[int, ...]:
        side = self.side // (2 if self.geometry == "up" else 1)
        return (self.batch, channels, side, side)

    def bytes_moved(self, residual_channels: int) -> int:
        """Two-byte elements of base, residual, noise and result, each once."""
        numbers = math.prod(self.base_shape) + self.side**2
        numbers += self.batch * self.channels * self.side**2
        if residual_channels:
            numbers += math.prod(self.residual_shape(residual_channels))
        return 2 * numbers


def sizes_of(layer: Layer, batch: int) -> Sizes:
    return Sizes("up" if layer.up == 2 else "box", batch, layer.out_channels, layer.resolution)


def sets_for(bytes_each: int, l2_bytes: int) -> int:
    """How many input sets it takes not to measure the cache."""
    return min(MOST_SETS, max(2, -(-L2_MULTIPLE * l2_bytes // bytes_each)))


def operator_times(
    layer: Layer,
    batch: int,
    ranks: tuple[int, ...],
    device: str,
    l2_bytes: int,
    bandwidth: float,
    with_body: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yield one row for each kind of residual: none, dense, and every rank below the channels."""
    size = sizes_of(layer, batch)
    for rank in (0, None, *(rank for rank in ranks if rank <= size.channels)):
        residual_channels = size.channels if rank is None else rank
        moved = size.bytes_moved(residual_channels)
        count = 2 if device == "cpu" else sets_for(moved, l2_bytes)
        sets = [_operands(size, rank, device) for _ in range(count)]
        row = {
            "layer": layer.name,
            "batch": batch,
            "residual": "none" if rank == 0 else "dense" if rank is None else f"rank {rank}",
            "bytes": moved,
            "floor_us": moved / bandwidth * 1e6,
        }
        calls = [lambda s=s: fused(**s, geometry=size.geometry) for s in sets]
        row["kernel_us"] = seconds(calls, device) * 1e6
        row["of_floor"] = row["floor_us"] / row["kernel_us"]
        if with_body:
            plain = {"geometry": size.geometry, "filter_": _filter(size, device)}
            # Its operations like channels first.
            firsts = [{k: t if t is None else t.contiguous() for k, t in s.items()} for s in sets]
            calls = [lambda s=s, plain=plain: body(**s, **plain) for s in firsts[:4]]
            row["body_us"] = seconds(calls, device, repeats=5) * 1e6
            row["body_over_kernel"] = row["body_us"] / row["kernel_us"]
        yield row


def _filter(size: Sizes, device: str) -> Tensor | None:
    if size.geometry != "up":
        return None
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device).half() / 4
    return torch.outer(taps, taps)


def _operands(size: Sizes, rank: int | None, device: str) -> dict[str, Tensor | None]:
    def half(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=torch.float16)

    residual = P = None
    if rank is None:
        residual = last(half(*size.residual_shape(size.channels)))
    elif rank:
        residual = last(half(*size.residual_shape(rank)))
        P = half(size.batch, rank, size.channels)
    return {
        "base": last(half(*size.base_shape)),
        "residual": residual,
        "P": P,
        "demodulation": torch.rand(size.batch, size.channels, device=device),
        "noise": half(1, 1, size.side, size.side),
        "bias": torch.randn(size.channels, device=device),
    }


def whole_layer_times(
    network: Network, layer: Layer, inputs: Inputs, device: str, l2_bytes: int
) -> dict[str, Any]:
    """Time the layer with its convolution, kernels and residual: ours, and grouped by cuDNN."""
    weights = network.layers[layer.name]
    batch, side = len(inputs.w_plus), layer.resolution // layer.up
    shape = (batch, layer.in_channels, side, side)
    moved = 2 * (math.prod(shape) + batch * layer.out_channels * layer.resolution**2)
    count = 2 if device == "cpu" else min(8, sets_for(moved, l2_bytes))
    sets = [torch.randn(shape, device=device, dtype=torch.float16) for _ in range(count)]
    style = style_of(weights, inputs)
    dW = residual_kernel(weights, inputs)
    d = demodulation(weights, style, dW)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "kernel_us": lambda x: shared(weights, x, style, dW, d),
        "grouped_us": lambda x: _grouped_layer(network, weights, x, style, dW, d),
    }
    row: dict[str, Any] = {"layer": layer.name, "batch": batch}
    for name, way in ways.items():
        maps = [last(x) for x in sets] if name == "kernel_us" else sets
        row[name] = seconds([lambda x=x, way=way: way(x) for x in maps], device, repeats=5) * 1e6
    row["grouped_over_kernel"] = row["grouped_us"] / row["kernel_us"]
    return row


def _grouped_layer(
    network: Network, weights: LayerWeights, x: Tensor, style: Tensor, dW: Tensor, d: Tensor
) -> Tensor:
    y = grouped(weights, x, style, dW, d)
    if weights.layer.up == 2:
        y = blur(y, network.filter)
    y = y + weights.noise + weights.bias[:, None, None].to(y.dtype)
    return F.leaky_relu(y, SLOPE) * GAIN


def layers(run: Run, batch: int) -> list[dict[str, Any]]:
    convs = run.table.convs
    if run.options.quick:
        convs = [c for c in convs if c.name in ("b64.conv1", "b1024.conv0", "b1024.conv1")]
    rows: list[dict[str, Any]] = []
    for layer in convs:
        if run.elapsed > run.options.limit:
            rows.append({"skipped": layer.name})
            continue
        rows += operator_times(layer, batch, RANKS, run.device, run.l2_bytes, run.bandwidth)
        torch.cuda.empty_cache()
    return rows
