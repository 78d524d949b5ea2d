"""Results as files: JSON for programs, Markdown and pictures for people."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rs_runtime.contracts.files import write_atomic
from rs_train.records import environment
from rs_train.tables.claims import Claim, claims_markdown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A table as it came out.

    Attributes:
        title: Heading of its page.
        about: What was measured, a paragraph.
        rows: Dataclasses of the table.
        table: The table in Markdown.
        claims: What it should show, and whether it does.
        pictures: By name, uint8 [H, W, 3] or a figure of matplotlib.
    """

    title: str
    about: str
    rows: Sequence[Any]
    table: str
    claims: Sequence[Claim] = ()
    pictures: dict[str, Any] = dataclasses.field(default_factory=dict)


def write_result(out: Path, stem: str, result: Result) -> list[Path]:
    """Write `<stem>.json`, `<stem>.md` and the pictures that it shows into a folder.

    Args:
        out: The folder; made if missing.
        stem: Of the files.
        result: What they say.

    Returns:
        The paths.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = environment()
    data = {
        "record": record,
        "rows": [dataclasses.asdict(row) for row in result.rows],
        "claims": [dataclasses.asdict(claim) for claim in result.claims],
    }
    parts = [f"# {result.title}", result.about, result.table]
    if result.claims:
        parts += ["## What the paper claims", claims_markdown(result.claims)]
    written = [out / f"{stem}.json", out / f"{stem}.md"]
    for name, picture in result.pictures.items():
        path = out / f"{stem}-{name}.png"
        write_atomic(path, _png(picture))
        parts.append(f"![{name}]({path.name})")
        written.append(path)
    parts.append(f"Made by `{record['command']}`.")
    write_atomic(written[0], (json.dumps(data, indent=2) + "\n").encode())
    write_atomic(written[1], ("\n\n".join(part.strip() for part in parts) + "\n").encode())
    return written


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        Image.fromarray(picture).save(buffer, format="png", optimize=True)
    else:
        # No software name in the file, so that equal numbers give equal bytes.
        picture.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
