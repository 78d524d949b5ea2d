"""Pictures for training, and the order in which they come."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rs_runtime.contracts.errors import MalformedFileError, UsageError
from rs_train.pixels import from_levels
from rs_train.processes import count, rank

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


class Pictures(Protocol):
    """What the training loop draws its batches from."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Items as {"image": float32 [N, 3, S, S] in [-1, 1], "index": int64 [N]}."""


class ImageFolder:
    """The pictures of one or more folders at one size, kept decoded in memory.

    Pictures of another size are resized with an antialiasing filter; they must be square.
    """

    def __init__(self, folders: Path | Sequence[Path], size: int, *, flip: bool = False) -> None:
        """Index the folders.

        Args:
            folders: One or several, their files in sorted order; or single pictures.
            size: Side in pixels.
            flip: Append every picture's mirror image.

        Raises:
            UsageError: A folder is missing or holds no pictures.
        """
        folders = [folders] if isinstance(folders, str | Path) else list(folders)
        self.paths = [path for folder in folders for path in _pictures(Path(folder))]
        self.size = size
        self.flip = flip
        self._pixels = np.zeros((len(self.paths), size, size, 3), np.uint8)
        self._is_loaded = np.zeros(len(self.paths), bool)

    def __len__(self) -> int:
        """Number of items, mirror images counted."""
        return len(self.paths) * (2 if self.flip else 1)

    def pixels(self, indices: Sequence[int]) -> np.ndarray:
        """Return uint8 [N, S, S, 3] sRGB of items; what is not in memory yet is decoded.

        Raises:
            MalformedFileError: A file cannot be decoded or is not square.
        """
        indices = np.asarray(indices, np.int64)
        files = indices % len(self.paths)
        missing = np.unique(files[~self._is_loaded[files]])
        if missing.size:
            self._load(missing)
        pixels = self._pixels[files]
        is_mirrored = indices >= len(self.paths)
        pixels[is_mirrored] = pixels[is_mirrored, :, ::-1]
        return pixels

    def images(self, indices: Sequence[int]) -> Tensor:
        """Return float32 [N, 3, S, S] in [-1, 1] of items."""
        return from_levels(torch.from_numpy(self.pixels(indices)).permute(0, 3, 1, 2))

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return items as the training loop takes them."""
        return {"image": self.images(indices), "index": torch.as_tensor(indices)}

    def _load(self, files: np.ndarray) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = pool.map(lambda file: _decode(self.paths[file], self.size), files)
            for file, picture in zip(files, decoded, strict=True):
                self._pixels[file] = picture
        self._is_loaded[files] = True


def read_labels(folder: Path) -> list[dict]:
    """Read labels.jsonl of a rendered folder, in the order of its pictures."""
    path = Path(folder) / "labels.jsonl"
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="rs-train render --out DIR writes labelled folders"
        ) from error
    except ValueError as error:
        raise MalformedFileError(f"{path}: {error}") from error


def batches(
    data: Pictures, batch_size: int, seed: int, start: int, stop: int
) -> Iterator[dict[str, Tensor]]:
    """This process's shares of the batches of the steps start … stop - 1.

    Each is made while the one before is in use.
    """

    def order(step: int) -> list[int]:
        return batch_indices(len(data), batch_size, step, seed)[rank() :: count()]

    with ThreadPoolExecutor(1) as ahead:
        step = start
        following = ahead.submit(data.batch, order(step)) if step < stop else None
        while following is not None:
            batch, step = following.result(), step + 1
            following = ahead.submit(data.batch, order(step)) if step < stop else None
            yield batch


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Indices of the batch of a step: epochs are permutations keyed by (seed, epoch)."""
    start = step * batch_size
    indices = []
    while len(indices) < batch_size:
        epoch, offset = divmod(start + len(indices), count)
        order = _epoch_order(count, seed, epoch)
        indices += order[offset : offset + batch_size - len(indices)].tolist()
    return indices


@lru_cache(maxsize=2)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def _pictures(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder",
            hint=f"rs-train render --out {folder} --count 1000 --size 128",
        )
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise UsageError(f"{folder}: holds no pictures", expected="PNG, JPEG or WebP files")
    return found


def _decode(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise MalformedFileError(f"{path}: {error}") from error
    if picture.width != picture.height:
        raise MalformedFileError(
            f"{path}: not square", found=f"{picture.width}x{picture.height}", expected="a square"
        )
    if picture.width != size:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)
