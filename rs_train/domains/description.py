"""What a domain is called and what it was made from."""

import hashlib
from dataclasses import dataclass

from rs_runtime.contracts.tokens import clean_name
from rs_train.data import ImageFolder


@dataclass(frozen=True, kw_only=True)
class DomainDescription:
    """Words that a domain's token set carries beside its numbers.

    Attributes:
        name: Name of the domain.
        source: Prompt, hash of the references, or both.
    """

    name: str
    source: str


def describe(name: str, prompt: str | None, references: ImageFolder | None) -> DomainDescription:
    """Name a domain and say where it comes from.

    Args:
        name: What to call it; made valid by `clean_name`, so that no training ends in a bad name.
        prompt: Its text.
        references: Its pictures, named by the SHA-256 of their decoded pixels.
    """
    parts = [] if prompt is None else [prompt]
    if references is not None:
        digest = hashlib.sha256()
        for index in range(len(references.paths)):
            digest.update(references.pixels([index]).tobytes())
        parts.append(f"{len(references.paths)} references {digest.hexdigest()}")
    return DomainDescription(name=clean_name(name), source="; ".join(parts))
