"""Distance between MoCo's embeddings, for pictures of other things than faces."""

from torch import Tensor

from rs_train.losses.identity import IdentityNetwork, identity_loss


def moco_loss(network: IdentityNetwork, prediction: Tensor, target: Tensor) -> Tensor:
    """1 - mean cosine of MoCo's embeddings of two image batches [N, 3, H, W]; scalar.

    The term that e4e and ReStyle put in the place of the ID loss (weight 0.5). Gradients flow into
    ``prediction`` alone; preprocessing as `rs_train.perceptual.moco` has it.
    """
    return identity_loss(network, prediction, target)
