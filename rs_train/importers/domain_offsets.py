"""Domains of HyperDomainNet and StyleDomain: a number a channel, for a generator that exists.

Their files hold `heads.*` by convolution: `conv_N.params_in` for rosinality's generators,
`bR.conv0` and `bR.conv1` for NVIDIA's. A patch key says what the numbers do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_train.importers.sandbox import Extract, extract
from rs_train.importers.sniff import DOMAIN_OFFSETS, OFFSET_PATCHES


@dataclass(frozen=True)
class ImportedDomain:
    """What a file says of a domain.

    Attributes:
        source: The file's facts.
        group: Which group of a token set it is.
        values: By convolution, float32 [Cin].
        notes: What differs from the source, a sentence each.
    """

    source: Extract
    group: Literal["style_offset", "modulation"]
    values: dict[str, np.ndarray]
    notes: list[str]


def import_domain(path: Path, table: LayerTable) -> ImportedDomain:
    """Read a domain of another project; nothing in it is executed.

    `s_delta` adds to the styles, before demodulation, as a style offset does. `cin_mult` multiplies
    the kernels' input channels by 1 + d, after demodulation, as a modulation of 1 + d does.

    Args:
        path: The file.
        table: Layers of the generator that the domain is for; the file does not contain it.

    Raises:
        MalformedFileError: Damaged, or not finite.
        UnsafeFileError: It carries code.
        IncompatibleError: Another kind of change, or one for a generator of other layers.
        ResourceError: Reading it took too much memory or time.
        UsageError: No such file, or a checkpoint that is no domain.
    """
    source = extract(path)
    if source.family != DOMAIN_OFFSETS:
        raise UsageError(
            f"{path}: not a domain that goes with a generator",
            found=source.family,
            hint="leave --generator out",
        )
    group = OFFSET_PATCHES[source.facts["patch_key"]]
    values = _by_convolution(source.tensors, table, path)
    if group == "modulation":
        values = {name: 1 + value for name, value in values.items()}
    notes = []
    if str(source.facts.get("da_type", "")).startswith("im2im"):
        notes.append(
            "its project also gives every head the reference's rows of w_plus from the 8th on; a "
            "token set holds the offsets alone"
        )
    arrays = {name: value.numpy() for name, value in values.items()}
    return ImportedDomain(source, group, arrays, notes)


def _by_convolution(
    tensors: Mapping[str, Tensor], table: LayerTable, path: Path
) -> dict[str, Tensor]:
    numbered = {f"conv_{n}.params_in": layer for n, layer in enumerate(table.convs)}
    named = {layer.name: layer for layer in table.convs}
    layers = numbered if numbered.keys() & tensors.keys() else named
    if layers.keys() != tensors.keys():
        raise IncompatibleError(
            f"{path}: a domain for a generator of other layers",
            found=f"{len(tensors)} convolutions: {', '.join(list(tensors)[:3])} …",
            expected=f"{len(layers)}: {', '.join(list(layers)[:3])} …",
            hint="name the generator that it was trained for: --generator",
        )
    values = {}
    for key, layer in layers.items():
        value = tensors[key].float().flatten()
        if len(value) != layer.in_channels:
            raise IncompatibleError(
                f"{path}: {key} is for a generator of other channels",
                found=str(len(value)),
                expected=f"{layer.in_channels}, as {layer.name} reads",
                hint="name the generator that it was trained for: --generator",
            )
        if not torch.isfinite(value).all():
            raise MalformedFileError(f"{path}: {key} is not finite")
        values[layer.name] = value
    return values
