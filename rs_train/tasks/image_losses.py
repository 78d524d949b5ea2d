"""The reconstruction losses of the inverters, and the networks that they look through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from rs_train.inverters.pooling import pool_to
from rs_train.losses.identity import identity_layers_loss, identity_loss
from rs_train.losses.l2 import l2_loss
from rs_train.losses.lpips import lpips_loss
from rs_train.losses.moco import moco_loss
from rs_train.losses.perceptual import perceptual_loss
from rs_train.perceptual.arcface import ArcFace


class ImageWeights(Protocol):
    """Weights of the losses; 0 leaves one out. `scales` and `identity_layers` choose forms."""

    l2: float
    perceptual: float
    scales: int
    identity: float
    identity_layers: bool
    moco: float


@dataclass(frozen=True, kw_only=True)
class LossNetworks:
    """What the losses look through; a loss without its network is left out.

    Attributes:
        judge: The project's own network: its features stand in for LPIPS, its embedding gives the
            identity, where the public networks are missing.
        lpips: LPIPS with published weights.
        identity: The public face network.
        moco: MoCo's network, for other things than faces.
    """

    judge: ArcFace | None = None
    lpips: nn.Module | None = None
    identity: nn.Module | None = None
    moco: nn.Module | None = None

    def modules(self) -> list[nn.Module]:
        """Those that are there."""
        networks = (self.judge, self.lpips, self.identity, self.moco)
        return [network for network in networks if network is not None]


def load_loss_networks(judge: ArcFace | None, files: Mapping[str, Path]) -> LossNetworks:
    """Read public networks.

    Args:
        judge: The project's own.
        files: Path by name: "lpips" AlexNet of torchvision, "identity" ArcFace's IR-SE50, "moco"
            MoCo v2's ResNet-50.

    Raises:
        RefineStyleError: A file that is missing or something else.
    """
    lpips = identity = moco = None
    # Their packages take seconds to import.
    if "lpips" in files:
        from rs_train.perceptual.lpips import Lpips

        lpips = Lpips(files["lpips"])
    if "identity" in files:
        from rs_train.perceptual.ir_se50 import load_ir_se50

        identity = load_ir_se50(files["identity"])
    if "moco" in files:
        from rs_train.perceptual.moco import Moco

        moco = Moco(files["moco"])
    return LossNetworks(judge=judge, lpips=lpips, identity=identity, moco=moco)


def image_losses(
    networks: LossNetworks, weights: ImageWeights, image: Tensor, photo: Tensor
) -> dict[str, Tensor]:
    """Unweighted losses between reconstructions and their photos, by the names of their weights.

    Args:
        networks: What is there.
        weights: What is wanted.
        image: [N, 3, H, W], about [-1, 1].
        photo: The same shape, in [-1, 1].
    """
    losses = {"l2": l2_loss(image, photo)}
    if weights.perceptual:
        if networks.lpips is not None:
            losses["perceptual"] = _at_scales(
                lpips_loss, networks.lpips, image, photo, weights.scales
            )
        elif networks.judge is not None:
            losses["perceptual"] = _at_scales(
                perceptual_loss, networks.judge, image, photo, weights.scales
            )
    face = networks.identity or networks.judge
    if weights.identity and face is not None:
        distance = identity_layers_loss if weights.identity_layers else identity_loss
        losses["identity"] = distance(face, image, photo)
    if weights.moco and networks.moco is not None:
        losses["moco"] = moco_loss(networks.moco, image, photo)
    return losses


def _at_scales(
    distance: Callable[..., Tensor], network: nn.Module, image: Tensor, photo: Tensor, scales: int
) -> Tensor:
    """Sum of a distance at full size, a half, a quarter, ..."""
    sides = [image.shape[-1] >> scale for scale in range(scales)]
    return sum(distance(network, pool_to(image, side), pool_to(photo, side)) for side in sides)
