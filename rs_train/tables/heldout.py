"""Held-out portraits, rendered by seed into a folder that is reused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rs_train.data import ImageFolder
from rs_train.portraits.folder import RenderSettings, render_folder

PARTS = ("hair", "eyes")


@dataclass(frozen=True)
class HeldOut:
    """Portraits that no training has seen.

    Attributes:
        image: [N, 3, S, S] in [-1, 1].
        background: [N, 1, S, S], 1 where there is no person.
        parts: Masks of parts of the person by name (`PARTS`), same shape; of a render all.
    """

    image: Tensor
    background: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def render_held_out(
    root: Path, *, domain: str, extras: bool, count: int, seed: int, size: int, workers: int
) -> HeldOut:
    """Render portraits below `root`, or take those that an earlier call rendered there.

    The same (seed, index) is the same scene in every domain, so that rows of two calls pair up.

    Raises:
        UsageError: The folder holds another render.
    """
    folder = root / f"{domain}{'-extras' if extras else ''}-{size}-{seed}-{count}"
    settings = RenderSettings(count, size, seed, domain, extras, masks=True)
    for _ in render_folder(folder, settings, workers):
        pass
    pictures = ImageFolder(folder, size)
    image = pictures.images(range(count))
    masks = [_masks(folder / "masks" / f"{path.stem}.npz") for path in pictures.paths]
    background, *parts = torch.from_numpy(np.stack(masks, axis=1))[:, :, None]
    return HeldOut(image, background, dict(zip(PARTS, parts, strict=True)))


def _masks(path: Path) -> np.ndarray:
    """Masks of the background and `PARTS`, float32 [3, S, S]."""
    with np.load(path) as masks:
        return np.stack([masks[name] for name in ("background", *PARTS)]).astype(np.float32)
