"""Role `landmarks`: photo uint8 [H, W, 3] -> where faces are.

Outputs, float32, of G grid cells: score [G], whether a face's centre is in the cell, 0 to 1; points
[G, 5, 2], that face's eyes, nose tip and mouth corners, (x, y) in pixels of the photo. The photo is
fitted into a square by the antialiased triangle filter, as in role `preprocess`.
"""

import torch
from torch import Tensor, nn

from rs_export.graphs.image import to_float
from rs_export.graphs.role import TracedRole


class _Landmarks(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.size = network.config.image_size

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        height, width = photo.shape[0], photo.shape[1]
        rows, columns = torch.arange(height).float() + 0.5, torch.arange(width).float() + 0.5
        longer = torch.maximum(rows[-1], columns[-1]) + 0.5
        scale = longer / self.size
        lines = self._weights(rows, scale) @ photo.float().reshape(height, -1)
        fewer = lines.reshape(self.size, -1, 3).permute(2, 0, 1)
        fitted = fewer @ self._weights(columns, scale).T  # [3, S, S], black outside the photo
        image = to_float(fitted.permute(1, 2, 0)[None])
        logits, points = self.network(image)
        return logits[0].sigmoid(), (points[0] + 0.5) * scale - 0.5

    def _weights(self, centres: Tensor, scale: Tensor) -> Tensor:
        """[S, len(centres)]: weight of each of the photo's lines in each of the square's."""
        outputs = (torch.arange(self.size).float() + 0.5)[:, None] * scale
        triangle = torch.relu(1.0 - (centres[None] - outputs).abs() / scale.clamp(min=1.0))
        return triangle / triangle.sum(dim=1, keepdim=True).clamp(min=1e-6)


def landmarks_role(network: nn.Module) -> TracedRole:
    """A `LandmarkNetwork` for photos of any size."""
    example = {"photo": torch.zeros(67, 91, 3, dtype=torch.uint8)}
    dynamic = {"photo": {0: "H", 1: "W"}}
    return TracedRole("landmarks", _Landmarks(network), example, dynamic, ("score", "points"))
