"""Rendered portraits with their labels, as items for training the judges."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rs_runtime.contracts.errors import MalformedFileError
from rs_train.data import ImageFolder, read_labels
from rs_train.portraits import PARAMETER_NAMES

# What is there or is not, from the categories of a label.
TRAITS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "glasses": lambda own: bool(own["glasses"]),
    "beard": lambda own: own["beard"] != "none",
    "bald": lambda own: own["hair"] == "bald",
    "long_hair": lambda own: own["hair"] in ("bob", "long"),
}


@dataclass(frozen=True)
class Labels:
    """Labels of all pictures of a dataset, one row a picture.

    Attributes:
        captions: What each picture shows.
        domains: Names of the domains, sorted; `domain` indexes them.
        domain: int64 [N].
        identity: int64 [N], numbered from 0 in order of appearance.
        attribute_names: Names of the renderer's continuous parameters, then of `TRAITS`.
        attributes: float32 [N, A] in [0, 1].
    """

    captions: tuple[str, ...]
    domains: tuple[str, ...]
    domain: Tensor
    identity: Tensor
    attribute_names: tuple[str, ...]
    attributes: Tensor


class LabelledPortraits:
    """Pictures of folders that `rs-train render` wrote.

    `labels` holds what is known of them.
    """

    def __init__(self, folders: Sequence[Path], size: int) -> None:
        """Index the folders and read their labels.

        Raises:
            UsageError: A folder is missing, empty or has no labels.jsonl.
            MalformedFileError: A picture has no label, or a label lacks a field.
        """
        self.pictures = ImageFolder(folders, size)
        rows = {
            Path(folder).resolve() / row["file"]: row
            for folder in folders
            for row in read_labels(folder)
        }
        missing = [p for p in self.pictures.paths if p.resolve() not in rows]
        if missing:
            raise MalformedFileError(
                f"{missing[0]}: not in its folder's labels.jsonl",
                hint="render the folder again with rs-train render",
            )
        self.labels = _read_rows([rows[path.resolve()] for path in self.pictures.paths])

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Several pictures as float32 [N, 3, S, S] in [-1, 1]."""
        return self.pictures.images(indices)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return pictures as the training loop takes them; "index" is their row in the labels."""
        return self.pictures.batch(indices)


def _read_rows(rows: list[dict]) -> Labels:
    try:
        domains = tuple(sorted({row["domain"] for row in rows}))
        people: dict[int, int] = {}
        identity = [people.setdefault(row["identity"], len(people)) for row in rows]
        parameters = torch.tensor([row["parameters"] for row in rows], dtype=torch.float32)
        if parameters.shape != (len(rows), len(PARAMETER_NAMES)):
            raise ValueError("parameters")
        traits = [[has(row["attributes"]) for has in TRAITS.values()] for row in rows]
        return Labels(
            captions=tuple(str(row["caption"]) for row in rows),
            domains=domains,
            domain=torch.tensor([domains.index(row["domain"]) for row in rows]),
            identity=torch.tensor(identity),
            attribute_names=(*PARAMETER_NAMES, *TRAITS),
            attributes=torch.cat([parameters, torch.tensor(traits).float()], dim=1),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedFileError(
            f"labels.jsonl: field {error} is missing or wrong",
            hint="render the folder again with rs-train render",
        ) from error
