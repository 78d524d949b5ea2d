"""Training of ReStyle encoders: every step of an inversion is judged."""

from torch import Tensor

from rs_train.tasks.base_inverter import BaseInverterTask


class ReStyleTask(BaseInverterTask):
    """Trains an iterative inverter against a frozen synthesis network.

    The loss is the sum over the steps, each starting from the one before as from a constant, which
    is what the published training accumulates before it updates. Samples of known w are not used.
    """

    model_name = "restyle"

    def invert(self, image: Tensor) -> Tensor:
        """The latent after the last step."""
        return self.model.steps(image, self.synthesize)[-1]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses, summed over the steps."""
        steps = self.model.steps(photo, self.synthesize)
        return self.summed_losses(map(self.synthesize, steps), photo)
