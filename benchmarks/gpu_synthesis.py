"""The refined 1024² synthesis in plain PyTorch, on random weights of the published shapes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_operator import GAIN, SLOPE, blur, fir
from rs_runtime.contracts.layers import Layer, LayerTable

EPS = 1e-8


def ffhq_table(resolution: int = 1024, widest: int = 512) -> LayerTable:
    """The published channels: 512 up to 64², then halved with every doubling."""
    sizes = [4 << j for j in range(int(math.log2(resolution)) - 1)]
    return LayerTable.from_channels({r: min(widest, 32768 // r) for r in sizes}, widest)


@dataclass
class LayerWeights:
    """One layer's constants. Kernels are [O, I, k, k] in channels-last memory."""

    layer: Layer
    affine: Tensor  # [I, w_dim] fp32
    affine_bias: Tensor
    kernel: Tensor
    kernel_up: Tensor | None  # the same as conv_transpose2d takes it, [I, O, k, k]
    square_sums: Tensor  # ΣW0² over taps, [O, I] fp32
    sums: Tensor
    bias: Tensor  # fp32
    noise: Tensor  # [1, 1, R, R]
    in_slice: slice  # of packed Q; empty for toRGB
    out_slice: slice  # of packed P


@dataclass
class Inputs:
    """A latent and packed tokens: w_plus [N, num_ws, w_dim] fp32, P and Q [N, L, Σ]."""

    w_plus: Tensor
    P: Tensor
    Q: Tensor


@dataclass
class Network:
    """All layers' constants at one dtype on one device."""

    table: LayerTable
    const: Tensor
    filter: Tensor
    layers: dict[str, LayerWeights] = field(default_factory=dict)

    @staticmethod
    def random(table: LayerTable, dtype: torch.dtype, device: str) -> "Network":
        """Draw weights on the CPU's generator, so that every dtype gets the same numbers."""
        draw = torch.Generator().manual_seed(7)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw).to(device)

        const = normal(1, table.convs[0].in_channels, 4, 4).to(dtype)
        network = Network(table, const.to(memory_format=torch.channels_last), fir(const))
        for layer in table.layers:
            o, i, k = layer.out_channels, layer.in_channels, layer.kernel
            # Rounded to half first: the fp32 network must have the same kernels.
            kernel = (normal(o, i, k, k) / math.sqrt(i * k**2)).half().float()
            last = torch.channels_last
            network.layers[layer.name] = LayerWeights(
                layer,
                affine=normal(i, table.w_dim) / math.sqrt(table.w_dim) * 0.3,
                affine_bias=torch.ones(i, device=device),
                kernel=kernel.to(dtype).contiguous(memory_format=last),
                kernel_up=kernel.transpose(0, 1).to(dtype).contiguous(memory_format=last)
                if layer.up == 2
                else None,
                square_sums=kernel.square().sum(dim=(2, 3)),
                sums=kernel.sum(dim=(2, 3)),
                bias=normal(o) * 0.1,
                noise=(normal(1, 1, layer.resolution, layer.resolution) * 0.1).to(dtype),
                in_slice=table.in_slices.get(layer.name, slice(0)),
                out_slice=table.out_slices.get(layer.name, slice(0)),
            )
        return network

    def tensors(self) -> Iterator[Tensor]:
        """All constants."""
        yield from (self.const, self.filter)
        for weights in self.layers.values():
            yield from (t for t in vars(weights).values() if isinstance(t, Tensor))

    def inputs(self, batch: int, rank: int) -> Inputs:
        """Draw a latent and tokens whose residual is about a third of the kernels."""
        device, dtype = self.const.device, self.const.dtype
        draw = torch.Generator().manual_seed(batch * 1000 + rank)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw).to(device)

        w_plus = normal(batch, self.table.num_ws, self.table.w_dim)
        P = normal(batch, rank, self.table.sum_out)
        Q = normal(batch, rank, self.table.sum_in) * (0.1 / math.sqrt(512 * rank))
        return Inputs(w_plus, P.half().to(dtype), Q.half().to(dtype))


def residual_kernel(weights: LayerWeights, inputs: Inputs) -> Tensor:
    """dW = Pᵀ Q of one layer, [N, O, I]."""
    P, Q = inputs.P[..., weights.out_slice], inputs.Q[..., weights.in_slice]
    return torch.bmm(P.transpose(1, 2), Q)


def style_of(weights: LayerWeights, inputs: Inputs) -> Tensor:
    """The layer's style [N, I] in fp32."""
    w = inputs.w_plus[:, weights.layer.w_index]
    return F.linear(w, weights.affine, weights.affine_bias)


def demodulation(weights: LayerWeights, style: Tensor, dW: Tensor) -> Tensor:
    """Inverse norms [N, O] of the final kernels, in fp32 from the tap sums."""
    dW = dW.float()
    cross = 2 * style[:, None, :] * weights.sums + 9 * dW
    square = style.square() @ weights.square_sums.T + (dW * cross).sum(dim=2)
    return torch.rsqrt(square.clamp_min(0) + EPS)


def dynamic_kernels(weights: LayerWeights, style: Tensor, dW: Tensor, d: Tensor) -> Tensor:
    """Wd [N, O, I, k, k] in channels-last memory, or [N, I, O, k, k] for a transposed one."""
    if weights.kernel_up is None:
        kernel = weights.kernel.permute(0, 2, 3, 1) * style[:, None, None, None, :]
        kernel = (kernel + dW[:, :, None, None, :]) * d[:, :, None, None, None]
    else:
        kernel = weights.kernel_up.permute(0, 2, 3, 1) * style[:, :, None, None, None]
        kernel = kernel + dW.transpose(1, 2)[:, :, None, None, :]
        kernel = kernel * d[:, None, None, None, :]
    return kernel.to(weights.kernel.dtype).permute(0, 1, 4, 2, 3)


def to_rgb(weights: LayerWeights, x: Tensor, style: Tensor) -> Tensor:
    """Modulated 1x1 convolution to RGB [N, 3, R, R] in fp32."""
    kernel = weights.kernel[:, :, 0, 0] * style[:, None, :]
    # Eight columns, for products of three are slow.
    kernel = F.pad(kernel, (0, 0, 0, 5)).to(x.dtype).transpose(1, 2)
    n, c, h, w = x.shape
    rgb = torch.bmm(x.permute(0, 2, 3, 1).reshape(n, h * w, c), kernel)
    rgb = rgb.reshape(n, h, w, 8)[..., :3].permute(0, 3, 1, 2)
    return rgb.float() + weights.bias[:, None, None]


def upsampled(image: Tensor) -> Tensor:
    """Double an image with the FIR filter: bilinear interpolation, with zeros outside."""
    wide = F.interpolate(F.pad(image, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")
    return wide[..., 2:-2, 2:-2]


Form = Literal["materialised", "dense"]


def plain_synthesis(network: Network, inputs: Inputs, form: Form) -> Tensor:
    """The image [N, 3, R, R] by PyTorch operations alone; `form` as rs_train's refined_conv."""
    batch = len(inputs.w_plus)
    x = network.const.expand(batch, -1, -1, -1)
    image = None
    for layer in network.table.layers:
        weights = network.layers[layer.name]
        style = style_of(weights, inputs)
        if layer.kind == "torgb":
            rgb = to_rgb(weights, x, style)
            image = rgb if image is None else upsampled(image) + rgb
            continue
        dW = residual_kernel(weights, inputs)
        d = demodulation(weights, style, dW)
        convolve = grouped if form == "materialised" else constant
        y = convolve(weights, x, style, dW, d)
        if layer.up == 2:
            y = blur(y, network.filter)
        y = y + weights.noise + weights.bias[:, None, None].to(y.dtype)
        x = F.leaky_relu(y, SLOPE) * GAIN
    return image


def grouped(weights: LayerWeights, x: Tensor, style: Tensor, dW: Tensor, d: Tensor) -> Tensor:
    """Convolve with materialised kernels, one group a sample; in up layers before the blur."""
    kernels = dynamic_kernels(weights, style, dW, d)
    n, c, h, w = x.shape
    x, kernels = x.reshape(1, n * c, h, w), kernels.flatten(0, 1)
    if weights.kernel_up is None:
        y = F.conv2d(x, kernels, padding=1, groups=n)
    else:
        y = F.conv_transpose2d(x, kernels, stride=2, groups=n)
    return y.reshape(n, -1, *y.shape[2:])


def constant(weights: LayerWeights, x: Tensor, style: Tensor, dW: Tensor, d: Tensor) -> Tensor:
    """Convolve with the static kernel and add box(dW x), then demodulate; before the blur."""
    scaled = x * style[:, :, None, None].to(x.dtype)
    product = torch.bmm(dW, x.flatten(2)).unflatten(2, x.shape[2:])
    if weights.kernel_up is None:
        y = F.conv2d(scaled, weights.kernel, padding=1)
        y = y + F.avg_pool2d(product, 3, stride=1, padding=1) * 9
    else:
        y = F.conv_transpose2d(scaled, weights.kernel_up, stride=2)
        ones = product.new_ones(product.shape[1], 1, 3, 3)
        y = y + F.conv_transpose2d(product, ones, stride=2, groups=product.shape[1])
    return y * d[:, :, None, None].to(y.dtype)


def roofline_seconds(
    table: LayerTable, batch: int, rank: int, bandwidth: float, rate: float
) -> float:
    """Least time of the whole synthesis: per layer the larger of its arithmetic and its traffic.

    Arithmetic: the convolution, Pᵀ Q formed once and nothing else. Traffic: the layer's input and
    static kernel read once, its output written once, all in two-byte elements.
    """
    total = 0.0
    for layer in table.layers:
        side = layer.resolution // layer.up
        i, o, k = layer.in_channels, layer.out_channels, layer.kernel
        refined = rank * i * o if layer.kind == "conv" else 0
        flops = 2 * batch * (side**2 * i * o * k**2 + refined)
        numbers = batch * (side**2 * i + layer.resolution**2 * o) + i * o * k**2
        total += max(flops / rate, 2 * numbers / bandwidth)
    return total
