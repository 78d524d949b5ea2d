"""Role `feature_shift`: a picture's feature map, moved as the generator's own map moves.

Inputs, float32 [N, C, h, w]: feature, of the picture; lower_source and lower_domain, of role
`synthesis_lower` before and after the change of latent and tokens. Output: shifted, likewise.
"""

import torch
from torch import nn

from rs_export.graphs.role import TracedRole, batch_only
from rs_runtime.contracts.layers import Layer


def feature_shift_role(shift: nn.Module, layer: Layer) -> TracedRole:
    """A FeatureShift of maps that `layer` reads."""
    side = layer.resolution // layer.up
    names = ("feature", "lower_source", "lower_domain")
    example = {name: torch.zeros(2, layer.in_channels, side, side) for name in names}
    return TracedRole("feature_shift", shift, example, batch_only(example), ("shifted",))
