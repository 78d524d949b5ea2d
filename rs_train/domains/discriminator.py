"""A light discriminator for a few hundred reference pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Judges strokes and colours by place, and the coarse picture as a whole.

    Two branches: patches of about 38 pixels through three stride-2 convolutions, and the picture
    pooled to 16 x 16, where light and palette remain. Both see the position, since heads are
    aligned: hair, face and background may be judged differently.

    Args:
        width: Channels of the first convolution.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            nn.Conv2d(5, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 3 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(3 * width, 1, 3, padding=1),
        )
        self.coarse = nn.Sequential(
            nn.Conv2d(5, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Pictures [N, 3, H, W] in [-1, 1] to maps of logits [N, 1, h, w], one a branch."""
        fine = self.patches(_with_position(image))
        coarse = self.coarse(_with_position(F.adaptive_avg_pool2d(image, 16)))
        return [fine.float(), coarse.float()]


def _with_position(image: Tensor) -> Tensor:
    """Append x and y in [-1, 1]: [N, 3, H, W] -> [N, 5, H, W]."""
    n, _, height, width = image.shape
    y = torch.linspace(-1, 1, height, dtype=image.dtype, device=image.device)
    x = torch.linspace(-1, 1, width, dtype=image.dtype, device=image.device)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.cat([image, torch.stack([x, y]).expand(n, -1, -1, -1)], dim=1)
