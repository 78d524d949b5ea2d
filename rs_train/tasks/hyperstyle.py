"""Training of HyperStyle: every look of an inversion is judged."""

from collections.abc import Mapping

from torch import Tensor, nn

from rs_train.inverters.hyperstyle import HyperStyle
from rs_train.perceptual.ir_se50 import start_trunk
from rs_train.perceptual.resnet34 import read_resnet34
from rs_train.tasks.second_stage import SecondStageTask


class HyperStyleTask(SecondStageTask):
    """Trains the hypernetwork.

    The loss is the sum over the looks, each starting from the one before as from a constant, which
    is what the published training accumulates before it updates.
    """

    model_name = "hyperstyle"
    read_trunk = staticmethod(read_resnet34)

    def start(self, model: HyperStyle, base: nn.Module, trunk: Mapping[str, Tensor] | None) -> None:
        """From a ResNet-34, as published, or at random."""
        if trunk is not None:
            start_trunk(model, trunk)

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses, summed over the looks."""
        looks = self.model.steps(photo, *self.invert(photo), self.generator.synthesis)
        return self.summed_losses(looks, photo)
