"""The refined synthesis around our kernel; it reads the weights of `gpu_synthesis`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_operator import fused
from benchmarks.gpu_prepare import Prepared, Stacks
from benchmarks.gpu_synthesis import Inputs, LayerWeights, Network, upsampled


@dataclass
class FusedSynthesis:
    """Constant weights in layers that `stacks` does not materialise, kernels per sample above.

    Attributes:
        prepare: `gpu_prepare.prepare`, plain or compiled.
    """

    network: Network
    stacks: Stacks
    prepare: Callable[[Stacks, Inputs], Prepared]

    def __call__(self, inputs: Inputs) -> Tensor:
        """The image [N, 3, R, R]."""
        network, batch = self.network, len(inputs.w_plus)
        ready = self.prepare(self.stacks, inputs)
        x = last(network.const.expand(batch, -1, -1, -1))
        skip = Skip(x.device)
        for layer in network.table.layers:
            weights = network.layers[layer.name]
            if layer.kind == "torgb":
                skip.add(x, ready.rgb[layer.name], weights.bias)
            elif layer.name in ready.kernels:
                x = per_sample(weights, x, ready)
            else:
                style = ready.styles[layer.name]
                x = shared(weights, x, style, ready.dW[layer.name], ready.d[layer.name])
        return skip.image()


class Skip:
    """The RGB branch; on a GPU beside the convolutions, on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None
        self._image: Tensor | None = None
        self._used: list[Tensor] = []  # what the other stream reads must outlive its use

    def add(self, x: Tensor, kernel: Tensor, bias: Tensor) -> None:
        """Add x [N, C, R, R] times kernel [N, C, 8] to the doubled image so far."""
        self._used += (x, kernel)
        if self._stream is None:
            self._add(x, kernel, bias)
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._add(x, kernel, bias)

    def _add(self, x: Tensor, kernel: Tensor, bias: Tensor) -> None:
        n, c, h, w = x.shape
        rgb = torch.bmm(x.permute(0, 2, 3, 1).reshape(n, h * w, c), kernel)
        rgb = rgb.reshape(n, h, w, 8)[..., :3].permute(0, 3, 1, 2) + bias[:, None, None]
        self._image = rgb if self._image is None else upsampled(self._image) + rgb
        self._used.append(self._image)

    def image(self) -> Tensor:
        """Join the branch and return its result, fp32."""
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)
        return self._image


def per_sample(weights: LayerWeights, x: Tensor, ready: Prepared) -> Tensor:
    """A materialised layer: every sample's own convolution, then the kernel without residual."""
    layer, batch = weights.layer, len(x)
    kernels, d = ready.kernels[layer.name], ready.d[layer.name]
    side = layer.resolution
    out = x.new_empty(batch, side, side, layer.out_channels).permute(0, 3, 1, 2)
    for n in range(batch):
        fused(
            _convolved(weights, x[n : n + 1], kernels[n]),
            demodulation=d[n : n + 1],
            noise=weights.noise,
            bias=weights.bias,
            geometry="point" if weights.kernel_up is None else "up",
            out=out[n : n + 1],
        )
    return out


def shared(weights: LayerWeights, x: Tensor, style: Tensor, dW: Tensor, d: Tensor) -> Tensor:
    """A layer with one kernel for all samples; the residual dW x is added by our kernel."""
    n, c, h, w = x.shape
    product = torch.bmm(x.permute(0, 2, 3, 1).reshape(n, h * w, c), dW.transpose(1, 2))
    up = weights.kernel_up is not None
    scaled = x * style[:, :, None, None].to(x.dtype)
    return fused(
        _convolved(weights, scaled, weights.kernel_up if up else weights.kernel),
        product.reshape(n, h, w, -1).permute(0, 3, 1, 2),
        demodulation=d,
        noise=weights.noise,
        bias=weights.bias,
        geometry="up" if up else "box",
    )


def last(x: Tensor) -> Tensor:
    """The tensor in channels-last memory; copies nothing where a library has chosen it."""
    return x.contiguous(memory_format=torch.channels_last)


def _convolved(weights: LayerWeights, x: Tensor, kernel: Tensor) -> Tensor:
    if weights.kernel_up is None:
        return last(F.conv2d(x, kernel, padding=1))
    return last(F.conv_transpose2d(x, kernel, stride=2))
