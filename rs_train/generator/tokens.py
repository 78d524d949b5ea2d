"""Token sets as the packed tensors that the synthesis network takes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet


class PackedTokens(NamedTuple):
    """What refines a generator, one row a sample, in layer-table order.

    P and Q come together; every field may be absent. Defaults: dW = 0, style offset 0,
    modulation 1, which is plain StyleGAN2.
    """

    P: Tensor | None = None  # [N, L, sum of Cout over convolutions]
    Q: Tensor | None = None  # [N, L, sum of Cin over convolutions]
    style_offset: Tensor | None = None  # [N, sum of Cin over convolutions, then over toRGBs]
    modulation: Tensor | None = None  # [N, sum of Cin over convolutions]


class LayerTokens(NamedTuple):
    """One layer's slice of PackedTokens."""

    P: Tensor | None = None  # [N, L, Cout]
    Q: Tensor | None = None  # [N, L, Cin]
    style_offset: Tensor | None = None  # [N, Cin]
    modulation: Tensor | None = None  # [N, Cin]


def unpack(tokens: PackedTokens | None, table: LayerTable) -> dict[str, LayerTokens]:
    """Cut packed tokens into one LayerTokens a layer, by layer name."""
    if tokens is None:
        tokens = PackedTokens()
    slices = {}
    start_in = start_out = 0
    for layer in (*table.convs, *table.torgbs):
        end_in, end_out = start_in + layer.in_channels, start_out + layer.out_channels
        offset = tokens.style_offset
        offset = None if offset is None else offset[:, start_in:end_in]
        if layer.kind == "torgb":
            slices[layer.name] = LayerTokens(style_offset=offset)
        else:
            slices[layer.name] = LayerTokens(
                P=None if tokens.P is None else tokens.P[..., start_out:end_out],
                Q=None if tokens.Q is None else tokens.Q[..., start_in:end_in],
                style_offset=offset,
                modulation=None
                if tokens.modulation is None
                else tokens.modulation[:, start_in:end_in],
            )
        start_in, start_out = end_in, end_out
    return slices


def concatenate(*parts: PackedTokens) -> PackedTokens:
    """Add residuals exactly by concatenating low-rank sets along L (P and Q only)."""
    parts = tuple(part for part in parts if part.P is not None)
    if not parts:
        return PackedTokens()
    return PackedTokens(
        P=torch.cat([part.P for part in parts], dim=1),
        Q=torch.cat([part.Q for part in parts], dim=1),
    )


def pack(
    sets: Sequence[TokenSet], table: LayerTable, strengths: Sequence[float] | None = None
) -> PackedTokens:
    """Pack token sets as one row [1, ...] whose residual is the sum of strength * dW.

    Layers that a set does not refine contribute zero. Style offsets add; modulations compose as
    m = 1 + sum of strength * (m - 1).
    """
    return _mixed([list(zip(sets, strengths or [1.0] * len(sets), strict=True))], table)


def pack_each(sets: Sequence[TokenSet], table: LayerTable) -> PackedTokens:
    """Pack token sets as one row each; those of lower rank are padded with zeros."""
    return _mixed([[(one, 1.0)] for one in sets], table)


def at_strength(tokens: PackedTokens, strength: Tensor) -> PackedTokens:
    """Weaken each row's change by its strength [N]; 1 is as it is, 0 plain StyleGAN2."""
    share = strength[:, None]
    P, style_offset, modulation = tokens.P, tokens.style_offset, tokens.modulation
    return tokens._replace(
        P=None if P is None else P * share[..., None],
        style_offset=None if style_offset is None else style_offset * share,
        modulation=None if modulation is None else 1 + (modulation - 1) * share,
    )


def _mixed(rows: Sequence[Sequence[tuple[TokenSet, float]]], table: LayerTable) -> PackedTokens:
    from rs_runtime.mixing import mix  # the runtime owns the composition rule

    packed = mix(rows, table)
    return PackedTokens(
        P=torch.from_numpy(packed.P),
        Q=torch.from_numpy(packed.Q),
        style_offset=torch.from_numpy(packed.style_offset),
        modulation=torch.from_numpy(packed.modulation),
    )
