"""Training of HFGI: distortion maps are moved, and must find back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_train.inverters.hfgi import HFGI
from rs_train.perceptual.torchvision_shim import import_package
from rs_train.tasks.second_stage import SecondStageTask

# The released training's random perspective.
DISTORTION_SCALE, PROBABILITY = 0.15, 0.9


class HFGITask(SecondStageTask):
    """Trains the alignment and the consultation together (HFGI, section 3.3).

    No pairs of a picture and its edit exist. In their place the distortion map is moved by a random
    perspective, and the alignment is asked for the map as it was.
    """

    model_name = "hfgi"
    is_captured = False  # a perspective is drawn and solved for on the CPU

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As every second stage; the random perspective comes in addition."""
        super().__init__(*arguments, **options)
        transforms = import_package("torchvision.transforms", "HFGI's training")
        self.move = transforms.RandomPerspective(DISTORTION_SCALE, PROBABILITY)

    def start(self, model: HFGI, base: nn.Module, trunk: Mapping[str, Tensor] | None) -> None:
        """At random.

        Raises:
            UsageError: There is a trunk to start from.
        """
        if trunk is not None:
            raise UsageError("--weights trunk: HFGI's networks have no trunk that is public")

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses, and the absolute error of the aligned distortion map."""
        w_plus, first = self.invert(photo)
        shown = self.model.shown(first)
        distortion = photo - shown
        found = self.model(self.move(distortion), shown)
        image = self.model.fuse(found, w_plus, self.generator.synthesis)
        losses = self.image_losses(self.pooled(image), photo)
        return losses | {"alignment": (found.distortion.float() - distortion).abs().mean()}
