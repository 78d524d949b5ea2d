"""LPIPS with its published weights, by the package `lpips`.

Source: Zhang et al. 2018, version 0.1 of the linear heads on AlexNet. The heads come with the
package, AlexNet's weights from torchvision's file `alexnet-owt-7be5be79.pth`.
"""

import re
import warnings
from pathlib import Path

from torch import Tensor, nn

from rs_train.perceptual.public_weights import fill, read_state
from rs_train.perceptual.torchvision_shim import import_package

# Slice of the package's AlexNet that each of torchvision's convolutions is in.
_SLICES = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}


class Lpips(nn.Module):
    """The distance, frozen."""

    def __init__(self, alexnet: Path) -> None:
        """Read AlexNet's weights from torchvision's file.

        Raises:
            ResourceError: The package is not installed.
            RefineStyleError: See `read_state` and `fill`.
        """
        super().__init__()
        package = import_package("lpips", "The LPIPS loss")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls torchvision as older releases want it
            self.network = package.LPIPS(net="alex", pnet_rand=True, verbose=False)
        state = {}
        for name, value in read_state(alexnet).items():
            if match := re.fullmatch(r"features\.(\d+)\.(weight|bias)", name):
                number, kind = int(match[1]), match[2]
                state[f"slice{_SLICES.get(number)}.{number}.{kind}"] = value
        fill(self.network.net, state, alexnet, "torchvision's AlexNet")
        self.requires_grad_(False).eval()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distances [N] of pictures [N, 3, H, W] in [-1, 1], at the size that they have.

        Shift (-.030, -.088, -.188), scale (.458, .448, .450); five feature maps of unit length over
        the channels (eps 1e-10), squared differences weighted by channel, averaged over positions,
        summed over maps.
        """
        return self.network(prediction.float(), target.float()).flatten()
