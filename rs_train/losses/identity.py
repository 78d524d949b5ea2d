"""Distance between identities."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class IdentityNetwork(Protocol):
    """A frozen face-recognition network."""

    def embed(self, image: Tensor) -> Tensor:
        """Embedding [N, D] of ``image`` [N, 3, H, W] in [-1, 1]; its length carries no meaning."""
        ...


def embedding_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """1 − mean cosine of embeddings [N, D], the ID term of pSp (Richardson et al. 2021, Eq. 4).

    Returns:
        Scalar in [0, 2], computed in fp32.
    """
    return 1.0 - F.cosine_similarity(prediction.float(), target.float(), dim=1).mean()


def identity_loss(network: IdentityNetwork, prediction: Tensor, target: Tensor) -> Tensor:
    """Identity lost between two image batches [N, 3, H, W] as ``network`` sees them; scalar.

    Gradients flow into ``prediction`` alone.
    """
    with torch.no_grad():
        wanted = network.embed(target.detach())
    return embedding_distance(network.embed(prediction), wanted)
