"""MoCo v2's ResNet-50, which takes the place of the face network for other things than faces.

Source: Chen et al. 2020, `moco_v2_800ep_pretrain.pth.tar`; used as a loss by e4e and ReStyle.
"""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.perceptual.public_weights import fill, read_state
from rs_train.perceptual.torchvision_shim import import_package

SIZE = 224
_PREFIX = "module.encoder_q."


class Moco(nn.Module):
    """Embedding of pictures of anything, frozen."""

    def __init__(self, path: Path) -> None:
        """Read the published file; its projection head is left out.

        Raises:
            ResourceError: timm, which has the network, is not installed.
            RefineStyleError: See `read_state` and `fill`.
        """
        super().__init__()
        timm = import_package("timm", "The MoCo loss")
        self.network = timm.create_model("resnet50", pretrained=False, num_classes=0)
        own = {name.removeprefix(_PREFIX): value for name, value in read_state(path).items()}
        state = {name: value for name, value in own.items() if not name.startswith("fc.")}
        fill(self.network, state, path, "MoCo's ResNet-50")
        self.requires_grad_(False).eval()

    def embed(self, image: Tensor) -> Tensor:
        """Unit vectors [N, 2048] of pictures [N, 3, H, W] in [-1, 1].

        As in e4e: resized to 224 x 224 by the nearest pixel and not normalised further; the 2048
        averaged features in front of the projection head.
        """
        small = F.interpolate(image, (SIZE, SIZE), mode="nearest")
        return F.normalize(self.network(small).float(), dim=1)

    forward = embed
