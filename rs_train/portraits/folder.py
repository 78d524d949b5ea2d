"""A folder of rendered portraits: pictures, masks, labels, and the record that lets it resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.contracts.files import write_atomic
from rs_train.portraits.captions import attributes, caption
from rs_train.portraits.renderer import LANDMARK_NAMES, landmarks, render
from rs_train.portraits.scene import Scene, parameters, sample_scene

RECORD_NAME = "render.json"
LABELS_NAME = "labels.jsonl"
# raised when the same settings give other pictures, so that a folder never mixes two
RENDERER_VERSION = 1


@dataclass(frozen=True)
class RenderSettings:
    """What decides every byte of a folder."""

    count: int
    size: int
    seed: int
    domain: str
    extras: bool
    masks: bool
    people: int | None = None  # this many persons take turns; None draws one a picture

    def scene(self, index: int) -> Scene:
        """The scene of one picture."""
        # Far apart for neighbouring seeds, so that two folders share nobody.
        identity = None if self.people is None else self.seed * 100_003 + index % self.people
        return sample_scene(self.seed, index, extras=self.extras, identity=identity)

    def record(self) -> bytes:
        """The folder's record, canonical JSON."""
        fields = {"renderer": RENDERER_VERSION, **asdict(self)}
        return (json.dumps(fields, sort_keys=True) + "\n").encode()


def render_folder(out: Path, settings: RenderSettings, workers: int) -> Iterator[int]:
    """Renders into a folder, skipping the pictures that are there; yields each finished index.

    Raises:
        UsageError: the folder holds something other than a part of this very render.
        ResourceError: it cannot be written.
    """
    _claim(out, settings)
    todo = [i for i in range(settings.count) if not _is_complete(out, i, settings)]
    yield from (i for i in range(settings.count) if i not in set(todo)) if todo else range(
        settings.count
    )
    if workers <= 1 or len(todo) < 2:
        for index in todo:
            yield _render_one(out, settings, index)
    else:
        with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
            jobs = len(todo)
            yield from pool.map(
                _render_one, [out] * jobs, [settings] * jobs, todo, chunksize=16
            )
    lines = [json.dumps(label(settings, i)) + "\n" for i in range(settings.count)]
    write_atomic(out / LABELS_NAME, "".join(lines).encode())


def label(settings: RenderSettings, index: int) -> dict[str, object]:
    """The line of labels.jsonl about one picture."""
    scene = settings.scene(index)
    points = landmarks(scene, settings.size)
    return {
        "file": _name(index),
        "seed": settings.seed,
        "index": index,
        "identity": scene.identity,
        "domain": settings.domain,
        "caption": caption(scene, settings.domain),
        "attributes": attributes(scene),
        "landmarks": {
            name: [round(float(x), 3), round(float(y), 3)]
            for name, (x, y) in zip(LANDMARK_NAMES, points, strict=True)
        },
        "parameters": [round(float(p), 5) for p in parameters(scene)],
    }


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _name(index: int) -> str:
    return f"{index:06d}.png"


def _mask_file(index: int) -> str:
    return f"masks/{index:06d}.npz"


def _is_complete(out: Path, index: int, settings: RenderSettings) -> bool:
    # masks are written first, so a picture stands for both
    return (out / _name(index)).is_file()


def _claim(out: Path, settings: RenderSettings) -> None:
    record = out / RECORD_NAME
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not record.exists():
            if any(out.iterdir()):
                raise UsageError(
                    f"cannot render into {out}",
                    found="files that are not a render",
                    expected="an empty or new folder",
                    hint="choose another --out",
                )
            write_atomic(record, settings.record())
        found = record.read_bytes()
        if settings.masks:
            (out / "masks").mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot render into {out}", found=str(error.strerror), expected="a writable folder"
        ) from error
    if found != settings.record():
        raise UsageError(
            f"{out} holds another render",
            found=found[:400].decode(errors="replace").strip(),
            expected=settings.record().decode().strip(),
            hint="choose another --out, or repeat the command that made the folder to resume it",
        )


def _render_one(out: Path, settings: RenderSettings, index: int) -> int:
    scene = settings.scene(index)
    picture = render(scene, settings.size, settings.domain)
    if settings.masks:
        _write_masks(out / _mask_file(index), picture.masks)
    _, data = cv2.imencode(".png", picture.image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4])
    _write(out / _name(index), data.tobytes())
    return index


def _write(path: Path, data: bytes) -> None:
    # a plain rename: the durable writer's two syncs per picture would dominate small renders
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}", found=str(error.strerror), expected="space and permission"
        ) from error


def _write_masks(path: Path, masks: dict[str, np.ndarray]) -> None:
    aside = path.with_name(f".{os.getpid()}.npz")
    np.savez_compressed(aside, **masks)
    os.replace(aside, path)
