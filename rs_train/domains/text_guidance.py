"""A prompt as a guide, in the spaces of one CLIP or of several."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rs_train.losses.direction import direction_loss, text_direction
from rs_train.losses.in_domain_angle import in_domain_angle_loss
from rs_train.perceptual.augment import Augmentation, apply_view, draw_view
from rs_train.perceptual.clip import ClipGuide


class _Guide(NamedTuple):
    network: ClipGuide
    weight: float
    direction: Tensor  # unit vector [D] from the source prompt to the domain's


class TextGuidance:
    """Losses between heads before and after, each a weighted sum over an ensemble of CLIPs.

    The direction comes from the mean over each network's own templates.

    Args:
        guides: Frozen networks and their weights.
        source: What the generator draws, "a photo of a person".
        target: What the domain is to draw.
        view: Random views in front of the networks, the same for both pictures of a pair.
    """

    def __init__(
        self, guides: Mapping[ClipGuide, float], source: str, target: str, view: Augmentation
    ) -> None:
        self.view = view
        with torch.no_grad():
            self._guides = [
                _Guide(
                    network,
                    weight,
                    text_direction(network.embed_prompt(source), network.embed_prompt(target)),
                )
                for network, weight in guides.items()
            ]

    def losses(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """Direction and, of two heads or more, in-domain angles of [N, 3, H, W] in [-1, 1]."""
        view = draw_view(len(before), self.view, before.device)
        losses: dict[str, Tensor] = {}
        for network, weight, direction in self._guides:
            with torch.no_grad():
                source = network.embed_image(apply_view(before, view))
            target = network.embed_image(apply_view(after, view))
            found = {"direction": direction_loss(source, target, direction)}
            if len(before) > 1:
                found["in_domain_angle"] = in_domain_angle_loss(source, target)
            for name, loss in found.items():
                losses[name] = losses.get(name, 0) + weight * loss
        return losses
