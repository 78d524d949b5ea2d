"""HFGI: what a first inversion missed is fused into the generator's features.

Wang et al., "High-Fidelity GAN Inversion for Image Attribute Editing", CVPR 2022. The distortion
map, image minus first inversion, is first aligned with the picture that is to be drawn, which an
edit may have moved; a consultation encoder turns it into a scale and a shift of the features at one
resolution.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.generator.conditioned import with_fused_features
from rs_train.generator.equalized import EqualizedConv2d, leaky_relu
from rs_train.generator.synthesis import Synthesis
from rs_train.inverters.pooling import pool_to
from rs_train.inverters.trunk import Bottleneck, PReLU, check_sides


@dataclass(frozen=True)
class HFGIConfig:
    """Sizes of HFGI's networks; the defaults are the published ones for 1024² faces.

    Attributes:
        image_size: side S of what the networks read, a multiple of 16; features are fused at S/4.
        fused_channels: channels of the synthesis at S/4.
        width: widest stage of both networks, a multiple of 4.
    """

    image_size: int = 256
    fused_channels: int = 512
    width: int = 64

    def __post_init__(self) -> None:
        check_sides(self.image_size, None)
        if self.width % 4:
            raise ValueError(f"width {self.width} is not a multiple of 4")


class Consulted(NamedTuple):
    """What HFGI found.

    Attributes:
        distortion: [N, 3, S, S], aligned with the picture to draw.
        scale: [N, C, S/4, S/4], C the fused channels; features become F (1 + scale) + shift.
        shift: Same shape.
    """

    distortion: Tensor
    scale: Tensor
    shift: Tensor


class DistortionAligner(nn.Module):
    """Adaptive distortion alignment (ADA): an encoder and a decoder with skips (Eqs. 3 and 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        quarter, half, most = width // 4, width // 2, width * 3 // 4
        self.input_layer = _input_layer(6, quarter)
        self.down = nn.ModuleList(
            [_stage(quarter, half, 2), _stage(half, most, 2), _stage(most, width, 2)]
        )
        self.up = nn.ModuleList(
            [
                nn.Sequential(_unit(width + most, width), _unit(width, half), _unit(half, half)),
                nn.Sequential(_unit(2 * half, half), _unit(half, quarter), _unit(quarter, quarter)),
                nn.Sequential(_unit(2 * quarter, quarter), _unit(quarter, 3), _unit(3, 3)),
            ]
        )

    def forward(self, distortion: Tensor, shown: Tensor) -> Tensor:
        """Move the distortion [N, 3, S, S] to where ``shown`` [N, 3, S, S] has its parts."""
        skips = [self.input_layer(torch.cat([distortion, shown], dim=1))]
        for stage in self.down:
            skips.append(stage(skips[-1]))
        x = skips.pop()
        for stage in self.up:
            x = stage(torch.cat([_enlarge(x), skips.pop()], dim=1))
        return x


class ConsultationEncoder(nn.Module):
    """From a distortion map to a scale and a shift of features (Eqs. 5 and 6)."""

    def __init__(self, width: int, fused_channels: int) -> None:
        super().__init__()
        half, most = width // 2, width * 3 // 4
        self.trunk = nn.Sequential(
            _input_layer(3, half), _stage(half, most, 2), _stage(most, width, 2)
        )
        self.scale = _Condition(width, fused_channels)
        self.shift = _Condition(width, fused_channels)

    def forward(self, distortion: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, 3, S, S] to two of [N, C, S/4, S/4]."""
        features = self.trunk(distortion)
        return self.scale(features), self.shift(features)


class HFGI(nn.Module):
    """Second stage: distortion and the picture to draw in, a change of features out."""

    kind: ClassVar[str] = "hfgi"

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        self.config = config
        self.aligner = DistortionAligner(config.width)
        self.consultation = ConsultationEncoder(config.width, config.fused_channels)

    def forward(self, distortion: Tensor, shown: Tensor) -> Consulted:
        """Find the change of features that brings the missed back.

        Args:
            distortion: [N, 3, S, S], image minus first inversion.
            shown: [N, 3, S, S] in [-1, 1], the first inversion, edited or not, that the change will
                be applied to.
        """
        aligned = self.aligner(distortion, shown)
        return Consulted(aligned, *self.consultation(aligned))

    def improve(self, image: Tensor, w_plus: Tensor, first: Tensor, synthesis: Synthesis) -> Tensor:
        """Synthesise with fused features, see `SecondStage`."""
        shown = self.shown(first)
        return self.fuse(self(image - shown, shown), w_plus, synthesis)

    def shown(self, inversion: Tensor) -> Tensor:
        """What is seen of a synthesised image [N, 3, R, R]: [N, 3, S, S] in [-1, 1].

        Area-pooled like all that encoders read here; the released code samples bilinearly.
        """
        return pool_to(inversion.clamp(-1.0, 1.0), self.config.image_size)

    @staticmethod
    def fuse(found: Consulted, w_plus: Tensor, synthesis: Synthesis) -> Tensor:
        """Images [N, 3, R, R] of w_plus [N, num_ws, w_dim] with features changed as found."""
        return with_fused_features(synthesis, w_plus, found.scale.float(), found.shift.float())


class _Condition(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.first = EqualizedConv2d(width, channels, 3)
        self.second = EqualizedConv2d(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.second(leaky_relu(self.first(features)))


def _input_layer(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        PReLU(channels),
    )


def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _unit(in_channels, channels, stride), _unit(channels, channels), _unit(channels, channels)
    )


def _unit(in_channels: int, channels: int, stride: int = 1) -> Bottleneck:
    return Bottleneck(in_channels, channels, stride, gated=False)


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
