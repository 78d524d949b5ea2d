"""Results as files: JSON for programs, Markdown for people."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rs_runtime.contracts.files import write_atomic
from rs_train.records import environment


def write_page(
    out: Path, stem: str, title: str, rows: Sequence[Any], table: str, about: str
) -> list[Path]:
    """Write `<stem>.json` and `<stem>.md` into a folder.

    Args:
        out: The folder; made if missing.
        stem: Of both files.
        title: Heading of the page.
        rows: Dataclasses of the table.
        table: The table in Markdown.
        about: What was measured, a paragraph.

    Returns:
        The two paths.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = environment()
    data = {"record": record, "rows": [dataclasses.asdict(row) for row in rows]}
    page = f"# {title}\n\n{about}\n\n{table}\nMade by `{record['command']}`.\n"
    paths = [out / f"{stem}.json", out / f"{stem}.md"]
    write_atomic(paths[0], (json.dumps(data, indent=2) + "\n").encode())
    write_atomic(paths[1], page.encode())
    return paths
