"""HyperStyle: what a first inversion missed becomes factors on the generator's kernels.

Alaluf et al., "HyperStyle: StyleGAN Inversion with HyperNetworks for Real Image Editing", CVPR
2022. A hypernetwork reads the image beside its inversion so far and predicts, convolution by
convolution, an offset Δ of the kernels W0 (1 + Δ). It looks several times, and its offsets add up;
the latent stays that of the first inversion. toRGB layers are left alone, as published.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_train.generator.conditioned import with_kernel_deltas
from rs_train.generator.equalized import EqualizedLinear
from rs_train.generator.synthesis import Synthesis
from rs_train.inverters.pooling import middle_rows, pool_to
from rs_train.inverters.refine import FFHQ_CONVS
from rs_train.inverters.resnet_trunk import ResNetTrunk
from rs_train.inverters.trunk import Channels, check_sides

TAPS = 9  # of a 3×3 kernel


@dataclass(frozen=True)
class HyperStyleConfig:
    """Sizes of a HyperStyle hypernetwork; the defaults are the published ones for 1024² faces.

    Attributes:
        image_size: side S of what the hypernetwork reads, a multiple of 16.
        image_height: rows of the square that it reads, those in the middle; a multiple of 16, None
            for all.
        conv_channels: (Cin, Cout) of every convolution of the synthesis, in layer-table order.
        channels: widths of the trunk's stages.
        iterations: looks of an inversion.
    """

    image_size: int = 256
    image_height: int | None = None
    conv_channels: tuple[tuple[int, int], ...] = FFHQ_CONVS
    channels: Channels = (64, 128, 256, 512)
    iterations: int = 5

    def __post_init__(self) -> None:
        check_sides(self.image_size, self.image_height)

    @property
    def shared_layers(self) -> int:
        """How many of the first convolutions have kernels of the first one's shape."""
        first = self.conv_channels[0]
        widths = enumerate(self.conv_channels)
        return next((n for n, pair in widths if pair != first), len(self.conv_channels))


class KernelCode(nn.Sequential):
    """From the trunk's map to one code: stride-1, then stride-2 convolutions, a linear layer."""

    def __init__(self, side: int, width: int) -> None:
        inner = width // 4
        halvings = max(side.bit_length() - 1, 1)
        widths = [*[inner] * halvings, width]
        layers: list[nn.Module] = [nn.Conv2d(width, inner, 3, padding=1), nn.LeakyReLU(0.01)]
        for cin, cout in pairwise(widths):
            layers += [nn.Conv2d(cin, cout, 3, stride=2, padding=1), nn.LeakyReLU(0.01)]
        super().__init__(*layers, nn.Flatten(), EqualizedLinear(width, width))


class KernelHead(nn.Module):
    """From a code [N, width] to Δ [N, C, C, k, k]; one serves all kernels of the widest shape.

    A linear layer gives each input channel a code of its own, a second one turns that into the
    channel's numbers.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.to_codes = nn.Linear(width, channels * width)
        self.to_kernels = nn.Linear(width, channels * TAPS)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=1 / 40)

    def forward(self, code: Tensor) -> Tensor:
        """Predict an offset; the numbers lie in memory as in the released networks."""
        codes = self.to_codes(code).unflatten(1, (self.channels, -1))
        return self.to_kernels(codes).reshape(-1, self.channels, self.channels, 3, 3)


class ChannelBlock(nn.Sequential):
    """From the trunk's map to Δ [N, Cout, Cin, 1, 1], alike for all taps of a kernel."""

    def __init__(self, side: int, width: int, in_channels: int, out_channels: int) -> None:
        inner = width // 2
        halvings = max(side.bit_length() - 2, 2)
        widths = [width, *[inner] * (halvings - 1), width]
        layers: list[nn.Module] = []
        for cin, cout in pairwise(widths):
            layers += [nn.Conv2d(cin, cout, 3, stride=2, padding=1), nn.LeakyReLU(0.01)]
        super().__init__(
            *layers,
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, in_channels * out_channels, 1),
            nn.Unflatten(1, (out_channels, in_channels)),
        )


class HyperStyle(nn.Module):
    """Second stage: image and inversion so far in, offsets of all kernels out."""

    kind: ClassVar[str] = "hyperstyle"

    def __init__(self, config: HyperStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = ResNetTrunk(6, config.channels)
        width, shared = config.channels[-1], config.shared_layers
        side = config.image_size // 16
        self.codes = nn.ModuleList(KernelCode(side, width) for _ in range(shared))
        self.kernel_head = KernelHead(width, config.conv_channels[0][1])
        self.blocks = nn.ModuleList(
            ChannelBlock(side, width, cin, cout) for cin, cout in config.conv_channels[shared:]
        )

    def forward(self, image: Tensor, inversion: Tensor) -> list[Tensor]:
        """Take one look.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            inversion: [N, 3, S, S], the inversion so far at this size, not clamped.

        Returns:
            What to add to each convolution's Δ: [N, C, C, 3, 3] for the widest kernels, then
            [N, Cout, Cin, 1, 1].
        """
        both = middle_rows(torch.cat([image, inversion], dim=1), self.config.image_height)
        features = self.trunk(both)
        full = [self.kernel_head(code(features)) for code in self.codes]
        return full + [block(features) for block in self.blocks]

    def steps(
        self, image: Tensor, w_plus: Tensor, first: Tensor, synthesis: Synthesis
    ) -> Iterator[Tensor]:
        """The unclamped images [N, 3, R, R] after each look.

        Each look starts from the one before as from a constant, so that gradients stay inside a
        look, as in the published training.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            w_plus: [N, num_ws, w_dim], the first inversion; it stays.
            first: [N, 3, R, R], its image; R is a multiple of S.
            synthesis: The frozen synthesis network.
        """
        deltas: list[Tensor] | None = None
        seen = first
        for _ in range(self.config.iterations):
            found = self(image, pool_to(seen.detach(), self.config.image_size))
            found = [delta.float() for delta in found]
            if deltas is not None:
                found = [old.detach() + new for old, new in zip(deltas, found, strict=True)]
            deltas = found
            seen = with_kernel_deltas(synthesis, w_plus, deltas)
            yield seen

    def improve(self, image: Tensor, w_plus: Tensor, first: Tensor, synthesis: Synthesis) -> Tensor:
        """Synthesise after the last look, see `SecondStage`."""
        *_, last = self.steps(image, w_plus, first, synthesis)
        return last
