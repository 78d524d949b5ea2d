"""A domain fitted to pairs, the ceiling that guidance is measured by."""

from torch import Tensor

from rs_train.losses.perceptual import perceptual_loss
from rs_train.perceptual.arcface import ArcFace
from rs_train.tasks.domain import DomainTask, Subject, placed, placed_image


class PairedDomainTask(DomainTask):
    """Fitted to the true pictures of the pool's heads.

    A batch holds "image", the true pictures, and "index", the heads' places in the pool.
    """

    def __init__(self, subject: Subject, *, arcface: ArcFace | None) -> None:
        """Without `arcface` the fit is by the absolute difference alone."""
        super().__init__(subject)
        self.arcface = arcface and placed(arcface, self.device)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Distance to the truth."""
        adapted = placed_image(self.adapt(self.pool.take(batch["index"].to(self.device))))
        truth = placed_image(batch["image"].to(self.device))
        losses = {"l1": (adapted - truth).abs().mean()}
        if self.arcface is not None:
            losses["perceptual"] = perceptual_loss(self.arcface, adapted.clamp(-1, 1), truth)
        return losses
