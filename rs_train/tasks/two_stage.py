"""Training of the two-stage model: a refiner on top of a frozen base inverter."""

from collections.abc import Mapping

from torch import Tensor, nn

from rs_train.generator import PackedTokens
from rs_train.inverters.refine import Refiner
from rs_train.losses.diversity import diversity_loss
from rs_train.perceptual.ir_se50 import start_trunk
from rs_train.tasks.second_stage import SecondStageTask


class TwoStageTask(SecondStageTask):
    """Trains the refiner."""

    model_name = "two_stage"

    def start(self, model: Refiner, base: nn.Module, trunk: Mapping[str, Tensor] | None) -> None:
        """From a trunk; without one from the base inverter's, where widths agree."""
        if trunk is not None:
            # As published: an input layer of six channels starts at random.
            inner = {name: v for name, v in trunk.items() if not name.startswith("input_layer")}
            start_trunk(model, inner)
        elif hasattr(base, "pyramid") and base.config.channels == model.config.channels:
            model.start_from(base)

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses of the refined image, and how alike the tokens of a layer are."""
        w_plus, first = self.invert(photo)
        P, Q = (side.float() for side in self.model(photo, first))
        image = self.pooled(self.synthesize(w_plus, PackedTokens(P=P, Q=Q)))
        losses = self.image_losses(image, photo)
        if self.config.training.diversity:
            refined = self.model.config.refined_layers
            losses["diversity"] = diversity_loss(P, Q, self.generator.table, refined)
        return losses
