"""Photos of several folders in chosen shares."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rs_runtime.contracts.errors import UsageError
from rs_train.data import ImageFolder


class Mixture:
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
        self.size = size
        self.folders = [ImageFolder(folder, size, flip=flip) for folder in weights]
        total = sum(len(folder) for folder in self.folders)
        scale = total / sum(weights.values())
        entries: list[np.ndarray] = []
        for number, (folder, weight) in enumerate(zip(self.folders, weights.values(), strict=True)):
            count = max(round(weight * scale), 1)
            if count < len(folder):
                picks = np.linspace(0, len(folder), count, endpoint=False).astype(int)
            else:
                picks = np.arange(count) % len(folder)
            entries.append(np.stack([np.full_like(picks, number), picks], axis=1))
        self._entries = np.concatenate(entries)  # [N, 2]: folder, item of the folder

    def __len__(self) -> int:
        """Items an epoch."""
        return len(self._entries)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Return float32 [N, 3, S, S] in [-1, 1] of items; damaged pictures are replaced."""
        numbers, picks = self._entries[np.asarray(indices)].T
        result = torch.empty(len(picks), 3, self.size, self.size)
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            result[places] = self.folders[number].batch(picks[places])["image"]
        return result

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return items as the training loop takes them."""
        return {"image": self.images(indices), "index": torch.as_tensor(indices)}
