"""One refined layer as the oracle computes it, and as the inner operator's inputs."""

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plugins.refined_conv import library
from rs_runtime.reference import refined_kernel, refined_layer

SLOPE, GAIN = 0.2, float(np.sqrt(2))


@dataclass(frozen=True)
class LayerCase:
    """Sizes and choices of one layer; `height` and `width` are those of the layer's input."""

    geometry: str = "box"
    dtype: str = "float32"
    layout: str = "channels_first"
    dense: bool = False
    batch: int = 1
    inputs: int = 3
    outputs: int = 4
    height: int = 5
    width: int = 6
    ranks: tuple[int, ...] = (2,)  # one a sample, padded to the largest
    noise: int = 1  # 0 none, 1 shared, 2 one a sample
    bias: bool = True
    demodulate: bool = True
    seed: int = 0

    @property
    def rank(self) -> int:
        return max(self.ranks)


@dataclass
class Operands:
    """The operator's inputs in float64 and what the whole layer must give."""

    base: np.ndarray
    residual: np.ndarray | None
    P: np.ndarray | None
    demodulation: np.ndarray | None
    noise: np.ndarray | None
    bias: np.ndarray | None
    expected: np.ndarray
    keep: list[np.ndarray] = field(default_factory=list)


def operands(case: LayerCase) -> Operands:
    """Draw a layer and compute its result with the oracle and its parts with plain sums."""
    rng = np.random.default_rng(case.seed)
    kernel = 1 if case.geometry == "point" else 3
    up = 2 if case.geometry == "up" else 1
    x = rng.normal(size=(case.batch, case.inputs, case.height, case.width))
    weight = rng.normal(size=(case.outputs, case.inputs, kernel, kernel))
    weight /= np.sqrt(case.inputs * kernel**2)
    style = rng.normal(1, 0.3, size=(case.batch, case.inputs))
    P = Q = None
    if case.rank:
        scale = 0.5 / np.sqrt(case.rank * case.inputs)
        P = rng.normal(size=(case.batch, case.rank, case.outputs))
        Q = rng.normal(scale=scale, size=(case.batch, case.rank, case.inputs))
        for sample, rank in enumerate(case.ranks):
            P[sample, rank:] = 0
            Q[sample, rank:] = 0
    size = (case.batch if case.noise == 2 else 1, up * case.height, up * case.width)
    noise = rng.normal(scale=0.3, size=size) if case.noise else None
    bias = rng.normal(scale=0.3, size=case.outputs) if case.bias else None
    expected = refined_layer(
        x,
        weight,
        style,
        P=P,
        Q=Q,
        up=up,
        demodulate=case.demodulate,
        noise=None if noise is None else noise[:, None],
        bias=bias,
    )
    base = _raw_transposed(x, weight, style) if up == 2 else _plain(x, weight, style)
    Wd = refined_kernel(weight, style, P=P, Q=Q, demodulate=False)
    d = 1 / np.sqrt((Wd**2).sum(axis=(2, 3, 4)) + 1e-8) if case.demodulate else None
    residual = None if Q is None else np.einsum("nli,nihw->nlhw", Q, x)
    if case.dense and residual is not None:
        residual, P = np.einsum("nlo,nlhw->nohw", P, residual), None
    return Operands(base, residual, P, d, noise, bias, expected)


def run(lib: ctypes.CDLL, case: LayerCase, parts: Operands, **changes: Any) -> np.ndarray:
    """Call the operator on the host; the result as float64 [N, C, H, W]."""
    case_arguments = arguments(case, parts)
    for name, value in changes.items():
        setattr(case_arguments, name, value)
    library.call(lib, case_arguments)
    return result(case, parts)


def result(case: LayerCase, parts: Operands) -> np.ndarray:
    """What a call wrote, as float64 [N, C, H, W]."""
    out = parts.keep[-1]
    shape = parts.expected.shape
    if case.layout == "channels_last":
        n, c, h, w = shape
        out = out.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return from_storage(out.reshape(shape), case.dtype)


def arguments(case: LayerCase, parts: Operands) -> library.RefineEpilogue:
    """Fill the C structure; `parts.keep` holds what it points to, the output last."""

    def pointer(array: np.ndarray | None, dtype: str, maps: bool = False) -> int | None:
        if array is None:
            return None
        if maps and case.layout == "channels_last":
            array = array.transpose(0, 2, 3, 1)
        parts.keep.append(to_storage(np.ascontiguousarray(array), dtype))
        return parts.keep[-1].ctypes.data

    n, c, h, w = parts.expected.shape
    filled = library.RefineEpilogue(
        base=pointer(parts.base, case.dtype, maps=True),
        residual=pointer(parts.residual, case.dtype, maps=True),
        P=pointer(parts.P, case.dtype),
        demodulation=pointer(parts.demodulation, "float32"),
        noise=pointer(parts.noise, case.dtype),
        bias=pointer(parts.bias, "float32"),
        batch=n,
        channels=c,
        height=h,
        width=w,
        rank=0 if parts.P is None else case.rank,
        noise_batch=0 if parts.noise is None else len(parts.noise),
        dtype=library.DTYPES[case.dtype],
        layout=library.LAYOUTS[case.layout],
        geometry=library.GEOMETRIES[case.geometry],
        slope=SLOPE,
        gain=GAIN,
    )
    poison = np.full(parts.expected.size, np.nan)
    filled.out = pointer(poison, case.dtype)
    return filled


def to_storage(array: np.ndarray, dtype: str) -> np.ndarray:
    """Round to a dtype; bfloat16, which NumPy lacks, as its upper 16 bits."""
    if dtype != "bfloat16":
        return array.astype(dtype)
    bits = array.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def from_storage(array: np.ndarray, dtype: str) -> np.ndarray:
    """Undo `to_storage`, as float64."""
    if dtype == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _plain(x: np.ndarray, weight: np.ndarray, style: np.ndarray) -> np.ndarray:
    return refined_layer(x, weight, style, demodulate=False, activate=False)


def _raw_transposed(x: np.ndarray, weight: np.ndarray, style: np.ndarray) -> np.ndarray:
    """The stride-2 transposed convolution before its blur: [N, Cout, 2H + 1, 2W + 1]."""
    n, _, h, w = x.shape
    raw = np.zeros((n, weight.shape[0], 2 * h + 1, 2 * w + 1))
    for a in range(3):
        for b in range(3):
            spread = np.einsum("oi,ni,nihw->nohw", weight[..., a, b], style, x)
            raw[:, :, a : a + 2 * h - 1 : 2, b : b + 2 * w - 1 : 2] += spread
    return raw
