"""Photos of several folders in chosen shares."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from rs_runtime.contracts.errors import UsageError
from rs_train.data import ImageFolder


class Mixture(Dataset):
    """Folders drawn in proportion to weights, for instance nine plain portraits to one with a hat.

    One epoch has as many items as the folders have photos together (twice that with mirror images);
    a folder whose share is larger than its size repeats, one whose share is smaller is cut evenly.
    The list is fixed, so the loop's seeded order makes runs repeatable.
    """

    def __init__(self, weights: Mapping[Path, float], size: int, *, flip: bool = True) -> None:
        """Index the folders.

        Args:
            weights: Folder to relative weight, positive.
            size: Side in pixels.
            flip: Use every photo's mirror image too.

        Raises:
            UsageError: No folder, a weight that is not positive, or a folder without pictures.
        """
        if not weights or min(weights.values()) <= 0:
            raise UsageError(
                "photos cannot be mixed",
                found=", ".join(f"{folder}={weight:g}" for folder, weight in weights.items()),
                expected="at least one folder, each with a positive weight",
            )
        self.folders = [ImageFolder(folder, size, flip=flip) for folder in weights]
        total = sum(len(folder) for folder in self.folders)
        scale = total / sum(weights.values())
        entries = []
        for number, (folder, weight) in enumerate(zip(self.folders, weights.values(), strict=True)):
            count = max(round(weight * scale), 1)
            if count < len(folder):
                picks = np.linspace(0, len(folder), count, endpoint=False).astype(int)
            else:
                picks = np.arange(count) % len(folder)
            entries += [(number, int(pick)) for pick in picks]
        self._entries = entries

    def __len__(self) -> int:
        """Items an epoch."""
        return len(self._entries)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        """Return {"image": float32 [3, S, S] in [-1, 1], "index": index}."""
        number, pick = self._entries[index]
        return self.folders[number][pick] | {"index": index}
