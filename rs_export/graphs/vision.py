"""Role `vision`: image uint8 [N, S, S, 3] -> embedding float32 [N, D], of length 1.

The image is what role `preprocess` gives. It is resized to the CLIP's input by the CLIP's own
antialiased filter, as two matrix products: both sizes are known, so their weights are constants.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_export.graphs.image import to_float
from rs_export.graphs.role import TracedRole, batch_only
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.preprocessing import Preprocessing, to_clip_input


class _Vision(nn.Module):
    def __init__(self, clip: ClipGuide, size: int) -> None:
        super().__init__()
        self.network = clip.network
        self.preprocessing = clip.preprocessing
        self.register_buffer("weights", _resize_weights(size, clip.preprocessing))

    def forward(self, image: Tensor) -> Tensor:
        resized = self.weights @ to_float(image) @ self.weights.T
        features = self.network.encode_image(to_clip_input(resized, self.preprocessing))
        return F.normalize(features.float(), dim=1)


def _resize_weights(size: int, preprocessing: Preprocessing) -> Tensor:
    """Weight [S', S] of each of the picture's lines in each of the resized picture's."""
    target = preprocessing.size
    lines = torch.eye(size)[None, None]
    mode = preprocessing.interpolation
    options = {"mode": mode, "align_corners": False, "antialias": True}
    # Columns stay as many as they are, and a filter of scale 1 leaves them as they are.
    return F.interpolate(lines, (target, size), **options)[0, 0]


def vision_role(clip: ClipGuide, size: int) -> TracedRole:
    """The image tower of a CLIP, for images S x S = size."""
    example = {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)}
    return TracedRole("vision", _Vision(clip, size), example, batch_only(example), ("embedding",))
