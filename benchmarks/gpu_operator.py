"""The kernel's library as a PyTorch operator, and its function body in PyTorch operations."""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.refined_conv.library import DTYPES, GEOMETRIES, LAYOUTS, RefineEpilogue, call

SLOPE, GAIN = 0.2, 2**0.5
_library: list[ctypes.CDLL] = []


def use_library(library: ctypes.CDLL) -> None:
    """Let the operator run in this build of the kernel."""
    _library[:] = [library]


@torch.library.custom_op("refinestyle::refine_epilogue", mutates_args=("out",))
def refine_epilogue(
    out: Tensor,
    base: Tensor,
    residual: Tensor | None,
    P: Tensor | None,
    demodulation: Tensor | None,
    noise: Tensor | None,
    bias: Tensor | None,
    geometry: str,
    layout: str,
    slope: float,
    gain: float,
) -> None:
    """Write the inner operator's result to `out` [N, C, H, W], on the current stream."""

    def address(tensor: Tensor | None) -> int | None:
        return None if tensor is None else tensor.data_ptr()

    batch, channels, height, width = out.shape
    arguments = RefineEpilogue(
        base=address(base),
        residual=address(residual),
        P=address(P),
        demodulation=address(demodulation),
        noise=address(noise),
        bias=address(bias),
        out=address(out),
        batch=batch,
        channels=channels,
        height=height,
        width=width,
        rank=0 if P is None else P.shape[1],
        noise_batch=0 if noise is None else noise.numel() // (height * width),
        dtype=DTYPES[str(out.dtype).removeprefix("torch.")],
        layout=LAYOUTS[layout],
        geometry=GEOMETRIES[geometry],
        slope=slope,
        gain=gain,
    )
    stream = torch.cuda.current_stream().cuda_stream if out.is_cuda else 0
    call(_library[0], arguments, stream)


def fused(
    base: Tensor,
    residual: Tensor | None = None,
    P: Tensor | None = None,
    demodulation: Tensor | None = None,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    geometry: str = "point",
    layout: str = "channels_last",
    out: Tensor | None = None,
    slope: float = SLOPE,
    gain: float = GAIN,
) -> Tensor:
    """Run the kernel on contiguous tensors of `layout`; see refine_epilogue.h for the shapes."""
    if out is None:
        n, c, h, w = base.shape
        edge = 1 if geometry == "up" else 0
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        out = base.new_empty((n, c, h - edge, w - edge)).contiguous(memory_format=form)
    refine_epilogue(
        out, base, residual, P, demodulation, noise, bias, geometry, layout, slope, gain
    )
    return out


def fir(like: Tensor) -> Tensor:
    """The blur of up layers [4, 4], gain 4; made once, before anything is captured."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=like.dtype, device=like.device) / 4
    return torch.outer(taps, taps)


def blur(x: Tensor, filter_: Tensor) -> Tensor:
    """The FIR filter as a depthwise convolution: [N, C, H + 1, W + 1] to [N, C, H, W]."""
    kernel = filter_.expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def body(
    base: Tensor,
    residual: Tensor | None = None,
    P: Tensor | None = None,
    demodulation: Tensor | None = None,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    geometry: str = "point",
    filter_: Tensor | None = None,
    slope: float = SLOPE,
    gain: float = GAIN,
) -> Tensor:
    """The same in PyTorch operations, one after the other, as the graph's function body is."""
    y = base
    if residual is not None:
        if geometry == "box":
            residual = F.avg_pool2d(residual, 3, stride=1, padding=1) * 9
        elif geometry == "up":
            ones = residual.new_ones(residual.shape[1], 1, 3, 3)
            residual = F.conv_transpose2d(residual, ones, stride=2, groups=residual.shape[1])
        if P is not None:
            n, _, h, w = residual.shape
            product = torch.bmm(P.transpose(1, 2), residual.flatten(2))
            residual = product.reshape(n, P.shape[2], h, w)
        y = y + residual
    if filter_ is not None:
        y = blur(y, filter_)
    if demodulation is not None:
        y = y * demodulation[:, :, None, None].to(y.dtype)
    if noise is not None:
        y = y + noise
    if bias is not None:
        y = y + bias[:, None, None].to(y.dtype)
    return F.leaky_relu(y, slope) * gain
