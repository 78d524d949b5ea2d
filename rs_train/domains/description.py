"""What a domain is called and what it was made from."""

import hashlib
from dataclasses import dataclass

import numpy as np

from rs_train.data import ImageFolder


@dataclass(frozen=True, kw_only=True)
class DomainDescription:
    """Words that a domain's token set carries beside its numbers.

    Attributes:
        name: Name of the domain.
        source: Prompt, hash of the references, or both.
        licence: SPDX name or a sentence.
    """

    name: str
    source: str
    licence: str = "Apache-2.0"


def describe(name: str, prompt: str | None, references: ImageFolder | None) -> DomainDescription:
    """Name a domain after its prompt and the SHA-256 of its decoded reference pictures."""
    parts = [] if prompt is None else [prompt]
    if references is not None:
        digest = hashlib.sha256()
        for index in range(len(references.paths)):
            digest.update(np.ascontiguousarray(references.pixels(index)).tobytes())
        parts.append(f"{len(references.paths)} references {digest.hexdigest()}")
    return DomainDescription(name=name, source="; ".join(parts))
