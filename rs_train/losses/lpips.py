"""LPIPS between pictures."""

from typing import Protocol

from torch import Tensor


class PictureDistance(Protocol):
    """A frozen distance of pictures."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distances [N] of pictures [N, 3, H, W] in [-1, 1]."""
        ...


def lpips_loss(network: PictureDistance, prediction: Tensor, target: Tensor) -> Tensor:
    """Mean LPIPS of two image batches [N, 3, H, W] in [-1, 1]; scalar.

    The term of pSp and its successors (weight 0.8), which take it at 256 x 256 on AlexNet. Without
    published weights `rs_train.losses.perceptual` stands in for it. Gradients flow into
    ``prediction`` alone.

    Source: Zhang et al. 2018, Eq. 1; preprocessing as `rs_train.perceptual.lpips` has it.
    """
    return network(prediction, target.detach()).mean()
