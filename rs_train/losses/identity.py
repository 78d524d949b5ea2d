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

    def features(self, image: Tensor) -> list[Tensor]:
        """Maps [N, C, h, w] of the same pictures."""
        ...


def embedding_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """1 − mean cosine of embeddings [N, D], the ID term of pSp (Richardson et al. 2021, Eq. 4).

    Returns:
        Scalar in [0, 2], computed in fp32.
    """
    return 1.0 - F.cosine_similarity(prediction.float(), target.float(), dim=1).mean()


def identity_loss(network: IdentityNetwork, prediction: Tensor, target: Tensor) -> Tensor:
    """Identity lost between two image batches [N, 3, H, W] as ``network`` sees them; scalar.

    The ID term of pSp (weight 0.1). The network is the project's own ArcFace, or the public one of
    `rs_train.perceptual.ir_se50`, each with its own preprocessing. Gradients flow into
    ``prediction`` alone.
    """
    with torch.no_grad():
        wanted = network.embed(target.detach())
    return embedding_distance(network.embed(prediction), wanted)


def identity_layers_loss(network: IdentityNetwork, prediction: Tensor, target: Tensor) -> Tensor:
    """Identity lost, layer by layer through the network; scalar.

    The sum over its maps and its embedding of 1 − mean cosine of what each picture's numbers make
    as one vector.

    Source: Feature-Style-Encoder (Yao et al. 2022), section 3.3, weight 0.1. Gradients flow into
    ``prediction`` alone.
    """
    with torch.no_grad():
        wanted = [*network.features(target.detach()), network.embed(target.detach())]
    found = [*network.features(prediction), network.embed(prediction)]
    pairs = zip(found, wanted, strict=True)
    return sum(embedding_distance(a.flatten(1), b.flatten(1)) for a, b in pairs)
