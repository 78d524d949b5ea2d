"""Strips for the documentation: what a bundle makes of a held-out head, and the truth beside it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rs_runtime.diagnostics.sheet import strip
from rs_runtime.pipeline import Runtime
from rs_train.portraits import render, sample_scene


def write_strips(
    runtime: Runtime, out: Path, *, seed: int, indices: Sequence[int], extras: bool = False
) -> list[Path]:
    """Write OUT/strip-DOMAIN.png for every domain of a bundle, a row a head.

    Columns: input, first inversion, two-stage, ours in the domain, the renderer's own picture of
    the same scene in the domain.

    Args:
        runtime: An opened bundle whose domains have the renderer's names.
        out: Folder.
        seed: Of scenes that nothing was trained on.
        indices: Which of its scenes.
        extras: With out-of-domain extras.
    """
    size = runtime.table.resolution
    scenes = [sample_scene(seed, index, extras=extras) for index in indices]
    photos = [render(scene, size).image for scene in scenes]
    inversions = [runtime.invert(photo) for photo in photos]
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for domain in runtime.domains:
        rows = [
            strip(
                [
                    ("input", photo),
                    ("first inversion", inversion.first_inversion),
                    ("two-stage", inversion.reconstruction),
                    (f"{domain}, ours", inversion.synthesize(domain)),
                    (f"{domain}, true", render(scene, size, domain).image),
                ]
            )
            for scene, photo, inversion in zip(scenes, photos, inversions, strict=True)
        ]
        path = out / f"strip-{domain}.png"
        Image.fromarray(np.concatenate(rows)).save(path, optimize=True)
        written.append(path)
    return written
