"""A folder of rendered portraits: pictures, masks, labels, and the record that lets it resume."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.contracts.files import write_atomic
from rs_train.portraits.captions import attributes, caption
from rs_train.portraits.domains import COMPOSED
from rs_train.portraits.renderer import LANDMARK_NAMES, drawn, landmarks, render
from rs_train.portraits.scene import Scene, parameters, sample_scene

RECORD_NAME = "render.json"
LABELS_NAME = "labels.jsonl"
# raised when the same settings give other pictures, so that a folder never mixes two
RENDERER_VERSION = 1
ANY = "any"  # in a domain's place: each picture in a composed look drawn at random


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

    def look(self, index: int) -> str:
        """The name of the domain of one picture."""
        if self.domain != ANY:
            return self.domain
        return COMPOSED[np.random.default_rng([self.seed, index, 53]).integers(len(COMPOSED))]

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
    # masks are written before their picture, so a picture stands for both
    missing = [i for i in range(settings.count) if not (out / _name(i)).is_file()]
    yield from sorted(set(range(settings.count)).difference(missing))
    job = partial(_render_one, out, settings)
    if workers == 1 or len(missing) < 2:
        yield from map(job, missing)
    else:
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
        try:
            yield from pool.map(job, missing, chunksize=8)
        finally:
            pool.shutdown(cancel_futures=True)
    lines = [json.dumps(label(settings, i)) + "\n" for i in range(settings.count)]
    write_atomic(out / LABELS_NAME, "".join(lines).encode())


def label(settings: RenderSettings, index: int) -> dict[str, object]:
    """The line of labels.jsonl about one picture."""
    person = settings.scene(index)
    scene = drawn(person, settings.look(index))
    points = landmarks(scene, settings.size)
    return {
        "file": _name(index),
        "seed": settings.seed,
        "index": index,
        "identity": scene.identity,
        "domain": settings.look(index),
        "caption": caption(scene, settings.look(index)),
        "attributes": attributes(scene),
        "landmarks": {
            name: [round(float(x), 3), round(float(y), 3)]
            for name, (x, y) in zip(LANDMARK_NAMES, points, strict=True)
        },
        "parameters": [round(float(p), 5) for p in parameters(person)],
    }


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops and tells its workers
    cv2.setNumThreads(1)


def _name(index: int) -> str:
    return f"{index:06d}.png"


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
        for leftover in out.rglob(".*.part"):
            leftover.unlink(missing_ok=True)
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
    picture = render(scene, settings.size, settings.look(index))
    if settings.masks:
        packed = io.BytesIO()
        np.savez_compressed(packed, **picture.masks)
        _write(out / "masks" / f"{index:06d}.npz", packed.getvalue())
    _, data = cv2.imencode(".png", picture.image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4])
    _write(out / _name(index), data.tobytes())
    return index


def _write(path: Path, data: bytes) -> None:
    # a plain rename: the durable writer's two syncs per picture would dominate small renders
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}", found=str(error.strerror), expected="space and permission"
        ) from error
