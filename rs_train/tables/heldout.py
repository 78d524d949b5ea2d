"""Held-out portraits, rendered by seed into a folder that is reused."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rs_train.data import ImageFolder
from rs_train.portraits.folder import RenderSettings, render_folder


@dataclass(frozen=True)
class HeldOut:
    """Portraits that no training has seen.

    Attributes:
        image: [N, 3, S, S] in [-1, 1].
        background: [N, 1, S, S], 1 where there is no person.
    """

    image: Tensor
    background: Tensor


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
    masks = [_background(folder / "masks" / f"{path.stem}.npz") for path in pictures.paths]
    return HeldOut(image, torch.from_numpy(np.stack(masks))[:, None])


def _background(path: Path) -> np.ndarray:
    with np.load(path) as masks:
        return masks["background"].astype(np.float32)
