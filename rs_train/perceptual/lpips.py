"""LPIPS with its published weights, by the package `lpips`.

Source: Zhang et al. 2018, version 0.1 of the linear heads. The heads come with the package, the
networks' weights from torchvision's files, `alexnet-owt-7be5be79.pth` or `vgg16-397923af.pth`.
"""

import warnings
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from rs_train.perceptual.public_weights import fill, read_state
from rs_train.perceptual.torchvision_shim import import_package

_TRUNKS = {"alex": "torchvision's AlexNet", "vgg": "torchvision's VGG-16"}


class Lpips(nn.Module):
    """The distance, frozen."""

    def __init__(self, path: Path, trunk: Literal["alex", "vgg"] = "alex") -> None:
        """Read the trunk's weights from torchvision's file.

        Raises:
            ResourceError: The package is not installed.
            RefineStyleError: See `read_state` and `fill`.
        """
        super().__init__()
        package = import_package("lpips", "The LPIPS loss")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls torchvision as older releases want it
            self.network = package.LPIPS(net=trunk, pnet_rand=True, verbose=False)
        public = read_state(path)
        # slice3.10.weight of the package is features.10.weight of torchvision
        names = {f"features.{own.split('.', 1)[1]}": own for own in self.network.net.state_dict()}
        state = {names[name]: value for name, value in public.items() if name in names}
        fill(self.network.net, state, path, _TRUNKS[trunk])
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """The trunk's five maps, finest first, of pictures [N, 3, H, W] in [-1, 1].

        Of VGG-16 relu1_2, 2_2, 3_3, 4_3 and 5_3; the input is normalised as in `forward`.
        """
        return list(self.network.net(self.network.scaling_layer(image.float())))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distances [N] of pictures [N, 3, H, W] in [-1, 1], at the size that they have.

        Shift (-.030, -.088, -.188), scale (.458, .448, .450); five feature maps of unit length over
        the channels (eps 1e-10), squared differences weighted by channel, averaged over positions,
        summed over maps.
        """
        return self.network(prediction.float(), target.float()).flatten()
