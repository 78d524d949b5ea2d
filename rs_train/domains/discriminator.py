"""A light discriminator for a few hundred reference pictures."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DomainDiscriminator(nn.Module):
    """Judges strokes and colours by place, the coarse picture, and frozen features.

    Pixel branches: patches of about 38 pixels through three stride-2 convolutions, and the picture
    pooled to 16 x 16, where light and palette remain. Both see the position, since heads are
    aligned: hair, face and background may be judged differently. Feature branches: a small head on
    each map of a frozen network, which learns in a fraction of the steps (projected GANs, Sauer et
    al. 2021).

    Args:
        width: Channels of the first convolution.
        feature_channels: Channels of each feature map; empty for none.
    """

    def __init__(self, width: int, feature_channels: Sequence[int] = ()) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            *_down(5, width), *_down(width, 2 * width), *_down(2 * width, 3 * width)
        ).append(nn.Conv2d(3 * width, 1, 3, padding=1))
        self.coarse = nn.Sequential(
            nn.Conv2d(5, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            *_down(width, 2 * width),
            *_down(2 * width, 2 * width),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )
        self.heads = nn.ModuleList(
            nn.Sequential(*_down(channels + 2, 2 * width), nn.Conv2d(2 * width, 1, 3, padding=1))
            for channels in feature_channels
        )

    def forward(self, image: Tensor, features: Sequence[Tensor] = ()) -> list[Tensor]:
        """Maps of logits [N, 1, h, w], one a branch.

        Args:
            image: Pictures [N, 3, H, W] in [-1, 1].
            features: The frozen network's maps of the same pictures.
        """
        logits = [
            self.patches(_with_position(image)),
            self.coarse(_with_position(F.adaptive_avg_pool2d(image, 16))),
        ]
        for head, x in zip(self.heads, features, strict=True):
            # unit mean square, so that no map's branch learns faster than another's
            x = x.float()
            x = x * torch.rsqrt(x.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-6)
            logits.append(head(_with_position(x)))
        return [branch.float() for branch in logits]


def _down(cin: int, cout: int) -> tuple[nn.Module, nn.Module]:
    """Halve the side: [N, cin, H, W] -> [N, cout, H / 2, W / 2]."""
    return nn.Conv2d(cin, cout, 4, stride=2, padding=1), nn.LeakyReLU(0.2)


def _with_position(x: Tensor) -> Tensor:
    """Append the position, x and y in [-1, 1]: [N, C, H, W] -> [N, C + 2, H, W]."""
    n, _, height, width = x.shape
    down = torch.linspace(-1, 1, height, dtype=x.dtype, device=x.device)
    right = torch.linspace(-1, 1, width, dtype=x.dtype, device=x.device)
    down, right = torch.meshgrid(down, right, indexing="ij")
    return torch.cat([x, torch.stack([right, down]).expand(n, -1, -1, -1)], dim=1)
