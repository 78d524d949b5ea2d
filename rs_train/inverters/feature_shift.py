"""FeatureShift: an encoder's feature map is moved along with a domain.

The feature map F that a Feature-Style-Encoder finds belongs to the photo, whatever the domain does
to the generator. The generator itself tells how a domain moves its own map, Δ = G_K(w, domain) −
G_K(w); a feature editor, as in StyleFeatureEditor (Bobkov et al., CVPR 2024, section 3.3), sees F
and Δ and learns what to make of them.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_train.inverters.iresnet import IResUnit

UNITS = 6


@dataclass(frozen=True)
class FeatureShiftConfig:
    """Sizes of a FeatureShift; the defaults are the published ones for 1024² faces.

    Attributes:
        layer: K, the convolution whose input is moved.
        feature_channels: C, the channels of that input.
        hidden: width of all units but the last, which has C.
        residual: the encoder's feature is what is added to the generator's own.
    """

    layer: int = 5
    feature_channels: int = 512
    hidden: int = 768
    residual: bool = False


class FeatureShift(nn.Module):
    """Feature and the generator's own two in, the feature in the domain out.

    The editor learns what the plain sum F + Δ misses, and begins with nothing.
    """

    kind: ClassVar[str] = "feature_shift"

    def __init__(self, config: FeatureShiftConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.feature_channels
        widths = [2 * channels, *[config.hidden] * (UNITS - 1), channels]
        units = [IResUnit(a, b) for a, b in pairwise(widths)]
        self.editor = nn.Sequential(*units)
        last = units[-1]
        for norm in (last.bn3, *last.downsample[1:]):
            nn.init.zeros_(norm.weight)

    def forward(self, feature: Tensor, lower_source: Tensor, lower_domain: Tensor) -> Tensor:
        """Move a feature.

        Args:
            feature: [N, C, h, w] of the encoder.
            lower_source: the generator's own for the encoder's w_plus, same shape.
            lower_domain: the same in the domain; `lower_source` again for none.

        Returns:
            [N, C, h, w], the input of convolution K.
        """
        whole = feature + lower_source if self.config.residual else feature
        return self.edit(whole, lower_source, lower_domain)

    def edit(self, feature: Tensor, lower_source: Tensor, lower_domain: Tensor) -> Tensor:
        """Move a feature that is whole already; a `Move`."""
        shift = lower_domain - lower_source
        return feature + shift + self.editor(torch.cat([feature, shift], dim=1))
