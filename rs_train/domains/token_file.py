"""The token set that a trained or imported domain becomes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import TokenSet, read_token_set, write_token_set
from rs_train.domains.description import DomainDescription
from rs_train.generator import Generator

Group = Mapping[str, np.ndarray]  # by layer name


def write_domain(
    path: Path,
    generator: Generator,
    about: DomainDescription,
    *,
    licence: str,
    dtype: Literal["F16", "F32"],
    P: Group | None = None,
    Q: Group | None = None,
    style_offset: Group | None = None,
    modulation: Group | None = None,
) -> None:
    """Write a domain of this generator; groups as in `TokenSet`.

    Raises:
        UsageError: A group breaks the rules of the format.
        NumericsError: A value is not finite, or too large for the dtype.
        ResourceError: The file cannot be written.
    """
    token_set = TokenSet(
        kind="domain",
        name=about.name,
        P=dict(P or {}),
        Q=dict(Q or {}),
        style_offset=dict(style_offset or {}),
        modulation=dict(modulation or {}),
        w_plus=None,
        source=about.source,
        licence=licence,
        fingerprint=generator.fingerprint(),
        table_hash=generator.table.hash,
        dtype=dtype,
    )
    write_token_set(path, token_set)


def read_domains(paths: Iterable[Path], generator: Generator) -> list[TokenSet]:
    """Read domains of this generator.

    Args:
        paths: `.tokens` files, and folders of them, whose files are taken in sorted order.
        generator: The generator.

    Raises:
        UsageError: A path is missing, or a folder without domains.
        RefineStyleError: See `read_token_set`.
    """
    table, fingerprint = generator.table, generator.fingerprint()
    found = []
    for path in paths:
        files = sorted(path.glob("*.tokens")) if path.is_dir() else [path]
        if not files:
            raise UsageError(f"{path}: holds no domains", expected="files NAME.tokens")
        found += [read_token_set(file, table=table, fingerprint=fingerprint) for file in files]
    return found
