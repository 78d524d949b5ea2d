"""Synthesis network w_plus -> image, with RGB skips (StyleGAN2, Fig. 7b)."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from rs_runtime.contracts.layers import Layer, LayerTable
from rs_train.generator.equalized import EqualizedLinear, leaky_relu
from rs_train.generator.refined_conv import Form, refined_conv
from rs_train.generator.resample import upsample
from rs_train.generator.tokens import LayerTokens, PackedTokens, unpack

NoiseMode = Literal["const", "random", "none"]


class SynthesisLayer(nn.Module):
    """One refinable convolution: modulation, kernel, demodulation, noise, bias, activation."""

    def __init__(self, layer: Layer, w_dim: int) -> None:
        super().__init__()
        self.layer = layer
        k = layer.kernel
        self.affine = EqualizedLinear(w_dim, layer.in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(layer.out_channels, layer.in_channels, k, k))
        self.weight_gain = 1 / math.sqrt(layer.in_channels * k**2)
        self.bias = nn.Parameter(torch.zeros(layer.out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(layer.resolution, layer.resolution))

    def convolve(self, x: Tensor, style: Tensor, tokens: LayerTokens, form: Form) -> Tensor:
        """Run the refined convolution alone; the seam at which an export traces one node."""
        return refined_conv(
            x,
            self.weight * self.weight_gain,
            style,
            **tokens._asdict(),
            up=self.layer.up,
            form=form,
        )

    def forward(
        self, x: Tensor, w: Tensor, tokens: LayerTokens, noise_mode: NoiseMode, form: Form
    ) -> Tensor:
        """Map x [N, Cin, H, W] and w [N, w_dim] to [N, Cout, up * H, up * W]."""
        x = self.convolve(x, _style(self.affine, w), tokens, form)
        if noise_mode == "const":
            x = x + (self.noise_const * self.noise_strength).to(x.dtype)
        elif noise_mode == "random":
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=x.dtype, device=x.device)
            x = x + noise * self.noise_strength.to(x.dtype)
        return leaky_relu(x + self.bias[:, None, None].to(x.dtype))


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB, without demodulation, noise or activation."""

    def __init__(self, layer: Layer, w_dim: int) -> None:
        super().__init__()
        self.layer = layer
        self.affine = EqualizedLinear(w_dim, layer.in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(layer.out_channels, layer.in_channels, 1, 1))
        self.weight_gain = 1 / math.sqrt(layer.in_channels)
        self.bias = nn.Parameter(torch.zeros(layer.out_channels))

    def forward(self, x: Tensor, w: Tensor, tokens: LayerTokens) -> Tensor:
        """Map x [N, Cin, H, W] and w [N, w_dim] to [N, 3, H, W] in fp32."""
        style = _style(self.affine, w)
        y = refined_conv(
            x,
            self.weight * self.weight_gain,
            style,
            style_offset=tokens.style_offset,
            demodulate=False,
        )
        return y.float() + self.bias[:, None, None]


def _style(affine: EqualizedLinear, w: Tensor) -> Tensor:
    # Styles stay in fp32 under autocast: demodulation squares and sums them.
    with torch.autocast(w.device.type, enabled=False):
        return affine(w.float())


def module_name(layer: Layer) -> str:
    """What the layer is called among `Synthesis.layers`; a module's name has no dots."""
    return layer.name.replace(".", "_")


class Synthesis(nn.Module):
    """The layers of a layer table, from a learned 4x4 constant to the image."""

    def __init__(self, table: LayerTable) -> None:
        super().__init__()
        self.table = table
        self.form: Form = "factorised"
        self.const = nn.Parameter(torch.randn(table.convs[0].in_channels, 4, 4))
        self.layers = nn.ModuleDict(
            {
                module_name(layer): (
                    ToRGB(layer, table.w_dim)
                    if layer.kind == "torgb"
                    else SynthesisLayer(layer, table.w_dim)
                )
                for layer in (*table.convs, *table.torgbs)
            }
        )

    def forward(
        self,
        w_plus: Tensor,
        tokens: PackedTokens | None = None,
        *,
        noise_mode: NoiseMode = "const",
        resolution: int | None = None,
    ) -> Tensor:
        """Synthesise images.

        Args:
            w_plus: [N, num_ws, w_dim].
            tokens: What refines the layers; None is plain StyleGAN2.
            noise_mode: "const" uses the stored noise, "random" draws it, "none" leaves it out.
            resolution: Stop at this size (the image so far), while a generator grows.

        Returns:
            Unclamped images [N, 3, R, R], about [-1, 1], fp32.
        """
        layers = self.table.layers
        if resolution is not None:
            layers = [layer for layer in layers if layer.resolution <= resolution]
        return self._run(layers, self._start(w_plus), None, w_plus, tokens, noise_mode)[1]

    def lower(
        self,
        w_plus: Tensor,
        tokens: PackedTokens | None = None,
        *,
        split: int,
        noise_mode: NoiseMode = "const",
    ) -> tuple[Tensor, Tensor | None]:
        """Run the layers before convolution `split`; `upper` runs the others.

        Args:
            w_plus: [N, num_ws, w_dim].
            tokens: As `forward`.
            split: Convolution K, 0 to the number of convolutions - 1, that reads `w_plus[:, K]`.
            noise_mode: As `forward`.

        Returns:
            feature: Input of convolution K, [N, Cin, H, W].
            image: Sum of the toRGB layers so far, [N, 3, H', W'] in fp32; None for split 0.
        """
        layers = self.table.before(split)
        return self._run(layers, self._start(w_plus), None, w_plus, tokens, noise_mode)

    def upper(
        self,
        feature: Tensor,
        image: Tensor | None,
        w_plus: Tensor,
        tokens: PackedTokens | None = None,
        *,
        split: int,
        noise_mode: NoiseMode = "const",
    ) -> Tensor:
        """Run convolution `split` and all after it; of `lower`'s results, this is `forward`.

        Args:
            feature: Input of convolution K, [N, Cin, H, W], from `lower` or from an encoder.
            image: What `lower` returned.
            w_plus: As `lower`.
            tokens: As `lower`.
            split: As `lower`.
            noise_mode: As `forward`.

        Returns:
            Unclamped images [N, 3, R, R], about [-1, 1], fp32.
        """
        layers = self.table.layers[len(self.table.before(split)) :]
        return self._run(layers, feature, image, w_plus, tokens, noise_mode)[1]

    def _start(self, w_plus: Tensor) -> Tensor:
        return self.const.expand(w_plus.shape[0], -1, -1, -1)

    def _run(
        self,
        layers: Iterable[Layer],
        x: Tensor,
        image: Tensor | None,
        w_plus: Tensor,
        tokens: PackedTokens | None,
        noise_mode: NoiseMode,
    ) -> tuple[Tensor, Tensor | None]:
        slices = unpack(tokens, self.table)
        for layer in layers:
            module = self.layers[module_name(layer)]
            w = w_plus[:, layer.w_index]
            if layer.kind == "torgb":
                rgb = module(x, w, slices[layer.name])
                image = rgb if image is None else upsample(image) + rgb
            else:
                x = module(x, w, slices[layer.name], noise_mode, self.form)
        return x, image
