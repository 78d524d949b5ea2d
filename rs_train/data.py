"""Pictures for training, and the order in which they come."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rs_runtime.contracts.errors import (
    MalformedFileError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.image_io import load_picture
from rs_train.picture_files import open_pictures
from rs_train.pixels import from_levels
from rs_train.processes import count, rank


class Pictures(Protocol):
    """What the training loop draws its batches from."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Items as {"image": float32 [N, 3, S, S] in [-1, 1], "index": int64 [N]}."""


class ImageFolder:
    """The pictures of folders and uncompressed zips at one size.

    Pictures of another size are resized with an antialiasing filter; they must be square. As many
    as `cache_bytes` hold stay decoded in memory: those that came first, because in epochs of random
    order no other choice is asked for more often.
    """

    def __init__(
        self,
        folders: Path | Sequence[Path],
        size: int,
        *,
        flip: bool = False,
        cache_bytes: int = 1 << 30,
    ) -> None:
        """Index the folders.

        Args:
            folders: One folder or zip, or several; their files are taken in sorted order.
            size: Side in pixels.
            flip: Append every picture's mirror image.
            cache_bytes: Most memory for decoded pictures.

        Raises:
            UsageError: A folder is missing or holds no pictures.
            RefineStyleError: A zip is refused; see `rs_train.picture_files`.
        """
        folders = [folders] if isinstance(folders, str | Path) else list(folders)
        self._files = [
            (source, name)
            for source in map(open_pictures, map(Path, folders))
            for name in source.names
        ]
        self.size = size
        self.flip = flip
        room = min(len(self._files), cache_bytes // (3 * size * size))
        self._kept = np.zeros((room, size, size, 3), np.uint8)
        self._places = np.full(len(self._files), -1)  # of each file in `_kept`
        self._count = 0  # of pictures in `_kept`
        self._damaged: set[int] = set()

    def __len__(self) -> int:
        """Number of items, mirror images counted."""
        return len(self._files) * (2 if self.flip else 1)

    @property
    def paths(self) -> list[Path]:
        """Where each picture is; of a zip, the entry's name below the zip's."""
        return [source.root / name for source, name in self._files]

    def pixels(self, indices: Sequence[int]) -> np.ndarray:
        """Return uint8 [N, S, S, 3] sRGB of items.

        Raises:
            MalformedFileError: A picture is damaged.
            UnsafeFileError: A picture is too large.
            UsageError: A picture is not square.
        """
        indices = np.asarray(indices, np.int64)
        pixels, failures = self._read(indices)
        if failures:
            raise next(iter(failures.values()))
        return pixels

    def images(self, indices: Sequence[int]) -> Tensor:
        """Return float32 [N, 3, S, S] in [-1, 1] of items; errors as `pixels`."""
        return _to_images(self.pixels(indices))

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return items as the training loop takes them.

        A picture that is damaged or too large is named once and replaced by the next sound one;
        "index" tells which items were taken.

        Raises:
            MalformedFileError: More than a tenth of the pictures, and more than ten, are damaged.
            UsageError: A picture is not square.
        """
        taken = self._sound(indices)
        pixels, failures = self._read(taken)
        while failures:
            self._skip(failures)
            taken = self._sound(indices)
            pixels, failures = self._read(taken)
        return {"image": _to_images(pixels), "index": torch.from_numpy(taken)}

    def _read(self, indices: np.ndarray) -> tuple[np.ndarray, dict[int, RefineStyleError]]:
        """Pixels of items, and by file why some cannot be read."""
        wanted, places = np.unique(indices % len(self._files), return_inverse=True)
        pixels = np.zeros((len(wanted), self.size, self.size, 3), np.uint8)
        is_kept = self._places[wanted] >= 0
        pixels[is_kept] = self._kept[self._places[wanted[is_kept]]]
        missing = np.flatnonzero(~is_kept)
        failures: dict[int, RefineStyleError] = {}
        if missing.size:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                decoded = list(pool.map(self._decode, wanted[missing].tolist()))
            for place, picture in zip(missing, decoded, strict=True):
                if isinstance(picture, RefineStyleError):
                    failures[int(wanted[place])] = picture
                    continue
                pixels[place] = picture
                self._keep(int(wanted[place]), picture)
        pixels = pixels[places]
        is_mirrored = indices >= len(self._files)
        pixels[is_mirrored] = pixels[is_mirrored, :, ::-1]
        return pixels, failures

    def _keep(self, file: int, picture: np.ndarray) -> None:
        if self._count < len(self._kept):
            self._kept[self._count] = picture
            self._places[file] = self._count
            self._count += 1

    def _decode(self, file: int) -> np.ndarray | RefineStyleError:
        source, name = self._files[file]
        try:
            picture = load_picture(source.read(name))
        except (MalformedFileError, UnsafeFileError) as error:
            what = error.what.removeprefix("picture: ").removeprefix(f"{source.root / name}: ")
            return type(error)(
                f"{source.root / name}: {what}", found=error.found, expected=error.expected
            )
        height, width = picture.shape[:2]
        if height != width:
            raise UsageError(
                f"{source.root / name}: not square",
                found=f"{width}x{height}",
                expected="a square",
                hint=f"crop the faces with: rs-train align {source.root} --out aligned",
            )
        if width == self.size:
            return picture
        shape = (self.size, self.size)
        return np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.BILINEAR))

    def _skip(self, failures: dict[int, RefineStyleError]) -> None:
        """Names damaged pictures.

        Raises:
            MalformedFileError: There are too many.
        """
        self._damaged |= failures.keys()
        for error in failures.values():
            click.echo(f"rs-train: skipped: {' '.join(str(error).split())}", err=True)
        click.echo(f"rs-train: {len(self._damaged)} damaged pictures so far", err=True)
        if len(self._damaged) > max(10, len(self._files) // 10) or len(self._damaged) == len(
            self._files
        ):
            raise MalformedFileError(
                f"too many damaged pictures in {self._files[0][0].root}",
                found=f"{len(self._damaged)} of {len(self._files)}",
                expected="at most a tenth",
            )

    def _sound(self, indices: Sequence[int]) -> np.ndarray:
        """Indices with those of damaged pictures replaced by the next sound ones'."""
        taken = np.array(indices, np.int64)
        count = len(self._files)
        for place, index in enumerate(taken.tolist()):
            file = index % count
            while file in self._damaged:
                file = (file + 1) % count
            taken[place] = file + index // count * count
        return taken


def _to_images(pixels: np.ndarray) -> Tensor:
    """Turn uint8 [N, S, S, 3] into float32 [N, 3, S, S] in [-1, 1]."""
    return from_levels(torch.from_numpy(pixels).permute(0, 3, 1, 2))


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
