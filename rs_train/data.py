"""Pictures for training, and the order in which they come."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from rs_runtime.contracts.errors import MalformedFileError, UsageError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


class ImageFolder(Dataset):
    """The pictures of one or more folders at one size, kept decoded in memory.

    An item is {"image": float32 [3, S, S] in [-1, 1], "index": int}. Pictures of another size are
    resized with an antialiasing filter; they must be square.
    """

    def __init__(self, folders: Path | Sequence[Path], size: int, *, flip: bool = False) -> None:
        """Index the folders.

        Args:
            folders: One folder or several; their files are taken in sorted order.
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

    def pixels(self, index: int) -> np.ndarray:
        """Return uint8 [S, S, 3] sRGB of item `index`."""
        file, mirrored = index % len(self.paths), index >= len(self.paths)
        if not self._is_loaded[file]:
            self._pixels[file] = _decode(self.paths[file], self.size)
            self._is_loaded[file] = True
        picture = self._pixels[file]
        return picture[:, ::-1] if mirrored else picture

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        """Return one item."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels(index)))
        return {"image": pixels.permute(2, 0, 1).float() / 127.5 - 1, "index": index}


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


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Indices of the batch of a step: epochs are permutations keyed by (seed, epoch)."""
    start = step * batch_size
    indices = []
    while len(indices) < batch_size:
        epoch, offset = divmod(start + len(indices), count)
        order = np.random.default_rng((seed, epoch)).permutation(count)
        indices += order[offset : offset + batch_size - len(indices)].tolist()
    return indices


def _pictures(folder: Path) -> list[Path]:
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
