"""Squared error between images."""

import torch.nn.functional as F
from torch import Tensor


def l2_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, the reconstruction term of pSp and its successors (weight 1).

    Args:
        prediction: [N, 3, H, W] on the [-1, 1] scale, any float dtype.
        target: The same shape.

    Returns:
        Scalar, computed in fp32.
    """
    return F.mse_loss(prediction.float(), target.float())
