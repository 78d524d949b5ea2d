"""Distance between deep features (LPIPS without learned channel weights)."""

import torch
from torch import Tensor

from rs_train.metrics.distances import FeatureNetwork, map_distance


def perceptual_loss(network: FeatureNetwork, prediction: Tensor, target: Tensor) -> Tensor:
    """Distance of two image batches [N, 3, H, W] as ``network`` sees them; scalar.

    Gradients flow into ``prediction`` alone.
    """
    with torch.no_grad():
        wanted = network.features(target.detach())
    return map_distance(network.features(prediction), wanted).mean()
