"""How domains compose: token sets with strengths become the packed tensors of a synthesis graph.

    dW = dW_image + sum lambda dW        low-rank sets concatenate along L, lambda on P only
    style offset = sum lambda offset     modulation m = 1 + sum lambda (m - 1)

Residuals add exactly (pictures do not); any finite strength is allowed, negative too; repeats add.
Samples of one batch may carry different mixes; a shorter one is padded with zero rows up to the
call's common L, which changes nothing. Adding tokens is all the arithmetic there is here.

At full size P and Q are 13 MB a sample, and filling them is most of our own work when a domain or a
strength changes: every number is written once, into memory that is used again (``Workspace``), P
and Q at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rs_runtime.both import both
from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet

Mix: TypeAlias = Sequence[tuple[TokenSet, float]]
Float32: TypeAlias = NDArray[np.float32]
Tokens: TypeAlias = NDArray[np.floating]

# Of one mix: two samples at full size with a domain each. What large batches took is given back.
KEPT_BYTES = 1 << 25


class PackedTokens(NamedTuple):
    """Tokens of N samples in layer-table order, float32, L >= 1.

    Style offsets cover the convolutions, then the toRGB layers. Zeros in P, Q and the offsets and
    ones in the modulation are plain StyleGAN2.
    """

    P: Float32  # [N, L, sum of Cout over convolutions]
    Q: Float32  # [N, L, sum of Cin over convolutions]
    style_offset: Float32  # [N, sum of Cin over all layers]
    modulation: Float32  # [N, sum of Cin over convolutions]


def neutral(count: int, table: LayerTable, rank: int = 1) -> PackedTokens:
    """Tokens of ``count`` samples that change nothing.

    Args:
        count: Number of samples N.
        table: Layer table of the generator.
        rank: L, at least 1: engines differ on empty tensors, a zero row is exact everywhere.
    """
    return PackedTokens(
        np.zeros((count, rank, table.sum_out), np.float32),
        np.zeros((count, rank, table.sum_in), np.float32),
        np.zeros((count, table.style_channels_with_torgb), np.float32),
        np.ones((count, table.sum_in), np.float32),
    )


def mix(
    samples: Sequence[Mix], table: LayerTable, onto: PackedTokens | None = None
) -> PackedTokens:
    """Packs one mix of token sets per sample.

    Args:
        samples: For each of N samples its (token set, strength) pairs; may be empty.
        table: Layer table of the generator that the sets were made for.
        onto: Packed tokens of the N samples that the mixes are added to, such as the pictures' own.

    Returns:
        Packed tokens of N samples; L is the largest sum of ranks in the batch, at least 1. Rows
        of ``onto`` that are zero in every sample are left out.

    Raises:
        UsageError: A strength that is not finite.
        IncompatibleError: A set whose layers or shapes are not this generator's.
    """
    return _mix(samples, table, onto, _Memory())


class Workspace:
    """Mixes that are drawn at once and not kept, one after another in the same memory.

    New memory costs more than filling it, because the system maps and clears its pages. Mixes that
    are in use at the same time, in threads or nested, have memory of their own.
    """

    def __init__(self) -> None:
        """Takes no memory yet."""
        self._idle: list[_Memory] = []

    @contextmanager
    def mix(
        self, samples: Sequence[Mix], table: LayerTable, onto: PackedTokens | None = None
    ) -> Iterator[PackedTokens]:
        """As ``mix``, but P and Q are valid in the block alone: a later mix overwrites them."""
        try:
            memory = self._idle.pop()
        except IndexError:
            memory = _Memory()
        yield _mix(samples, table, onto, memory)
        # Not after an error: an engine that was interrupted may still read.
        if memory.nbytes <= KEPT_BYTES:
            self._idle.append(memory)


def scale(tokens: PackedTokens, strength: float | Sequence[float]) -> PackedTokens:
    """Multiplies dW, offsets and modulation changes by ``strength``; dW by way of P alone.

    Args:
        tokens: Of N samples.
        strength: One for all samples, or one for each.

    Raises:
        UsageError: A strength that is not finite, or another number of them.
    """
    strengths = per_sample(strength, len(tokens.P))
    if np.all(strengths == 1):
        return tokens
    column = strengths[:, None]
    return PackedTokens(
        column[..., None] * tokens.P,
        tokens.Q,
        column * tokens.style_offset,
        1 + column * (tokens.modulation - 1),
    )


def per_sample(strength: float | Sequence[float], count: int) -> Float32:
    """Strengths as an array, [1] or [count].

    Raises:
        UsageError: A strength that is not finite, or another number of them.
    """
    strengths = np.atleast_1d(np.asarray(strength, np.float32))
    if strengths.ndim != 1 or len(strengths) not in (1, count):
        raise UsageError(
            "each sample needs its own strength",
            found=f"{strengths.size} strengths",
            expected=f"1 or {count}",
        )
    for own in np.atleast_1d(strength):
        check_strength(float(own))
    return strengths


def take(tokens: PackedTokens, samples: slice) -> PackedTokens:
    """Some samples of a batch, without the rows that only the others need."""
    some = PackedTokens(*(part[samples] for part in tokens))
    kept = _used_rows(some)
    if kept.all():
        return some
    kept[0] |= not kept.any()
    return some._replace(P=some.P[:, kept], Q=some.Q[:, kept])


def split_layers(
    tokens: PackedTokens, sample: int, table: LayerTable
) -> tuple[dict[str, Float32], dict[str, Float32]]:
    """Cuts one sample's P and Q into layers, the form that token sets keep.

    Layers that carry no residual are left out (rank 0).

    Returns:
        P: layer name to [L, Cout]; Q: layer name to [L, Cin].
    """
    P: dict[str, Float32] = {}
    Q: dict[str, Float32] = {}
    for layer in table.convs:
        left = tokens.P[sample][:, table.out_slices[layer.name]]
        right = tokens.Q[sample][:, table.in_slices[layer.name]]
        if left.any() and right.any():
            P[layer.name] = np.ascontiguousarray(left)
            Q[layer.name] = np.ascontiguousarray(right)
    return P, Q


class _Memory:
    """Gives arrays that are not filled; of one name, always in the same bytes."""

    def __init__(self) -> None:
        self._flat: dict[str, Float32] = {}

    @property
    def nbytes(self) -> int:
        return sum(flat.nbytes for flat in self._flat.values())

    def empty(self, name: str, *shape: int) -> Float32:
        size = math.prod(shape)
        if name not in self._flat or self._flat[name].size < size:
            self._flat[name] = np.empty(size, np.float32)
        return self._flat[name][:size].reshape(shape)


def _mix(
    samples: Sequence[Mix], table: LayerTable, onto: PackedTokens | None, memory: _Memory
) -> PackedTokens:
    """See ``mix``; sets every number of P and Q, for the memory holds those of an earlier mix."""
    merged = [_merge(sample, table) for sample in samples]
    own = neutral(len(merged), table) if onto is None else onto
    kept = _used_rows(own)
    first = int(kept.sum())
    added = max([0, *(sum(token_set.rank for token_set, _ in sample) for sample in merged)])
    rank = max(1, first + added)
    packed = PackedTokens(
        memory.empty("P", len(merged), rank, table.sum_out),
        memory.empty("Q", len(merged), rank, table.sum_in),
        own.style_offset.copy(),
        own.modulation.copy(),
    )
    rows = slice(None) if kept.all() else kept
    # P here: the caller's np.errstate counts where a strength makes it overflow.
    both(
        lambda: _fill(packed.Q, own.Q[:, rows], "Q", merged, table.in_slices),
        lambda: _fill(packed.P, own.P[:, rows], "P", merged, table.out_slices),
        nbytes=packed.P.nbytes + packed.Q.nbytes,
    )
    for n, sample in enumerate(merged):
        for token_set, strength in sample:
            factor = np.float32(strength)
            for name, offset in token_set.style_offset.items():
                packed.style_offset[n, table.style_slices[name]] += factor * offset
            for name, modulation in token_set.modulation.items():
                packed.modulation[n, table.in_slices[name]] += factor * (modulation - np.float32(1))
    return packed


def _used_rows(tokens: PackedTokens) -> NDArray[np.bool_]:
    """Which of the L rows are not zero in some sample, [L]."""
    return _nonzero_rows(tokens.P) & _nonzero_rows(tokens.Q)


def _nonzero_rows(part: Float32) -> NDArray[np.bool_]:
    # The last channel tells of most tokens at once: layers that an inverter leaves come first.
    used = part[..., -1].any(axis=0)
    return used if used.all() else part.any(axis=(0, 2))


def _fill(
    part: Float32,
    own: Float32,
    group: Literal["P", "Q"],
    samples: Sequence[Mix],
    columns: Mapping[str, slice],
) -> None:
    """Sets P or Q.

    Args:
        part: All of it, [N, L, C].
        own: Its first rows, [N, l, C].
        group: Which of the two; strengths act on P.
        samples: Sets and strengths of each sample, whose rows follow; below them are zeros.
        columns: Where the channels of each layer are.
    """
    first = own.shape[1]
    part[:, :first] = own
    for n, sample in enumerate(samples):
        row = first
        for token_set, strength in sample:
            rows = part[n, row : row + token_set.rank]
            layers: dict[str, Tokens] = getattr(token_set, group)
            factor = np.float32(strength if group == "P" else 1)
            joined = _joined([layers.get(name) for name in columns])
            if joined is not None:
                _write(joined, rows, factor)
            else:
                for name, channels in columns.items():
                    rank = len(layers.get(name, ()))
                    if rank:
                        _write(layers[name], rows[:rank, channels], factor)
                    rows[rank:, channels] = 0
            row += token_set.rank
        part[n, row:] = 0


def _joined(layers: Sequence[Tokens | None]) -> Tokens | None:
    """Arrays [L, C] as the one, [L, sum of C], whose columns they are; None where they are not.

    A set that was read from a file has such arrays: a few long rows are copied faster than many
    short ones.
    """
    first = layers[0]
    if first is None:
        return None
    address, width = first.ctypes.data, 0
    for layer in layers:
        if (
            layer is None
            or (layer.dtype, layer.strides, len(layer)) != (first.dtype, first.strides, len(first))
            or layer.ctypes.data != address + width * first.strides[1]
        ):
            return None
        width += layer.shape[1]
    return np.lib.stride_tricks.as_strided(first, (len(first), width), writeable=False)


def _write(tokens: Tokens, out: Float32, factor: np.float32) -> None:
    """Sets ``out`` to the tokens times a factor."""
    if tokens.dtype == np.float16 and tokens.size:
        # OpenCV widens many halves at once, NumPy one by one.
        if hasattr(cv2, "convertFp16"):
            cv2.convertFp16(tokens, out)
        else:  # OpenCV 5 left it out, but calculates with halves
            cv2.subtract(tokens, 0.0, out, dtype=cv2.CV_32F)
        if factor != 1:
            out *= factor
    elif factor != 1:
        np.multiply(tokens, factor, out=out)
    else:
        out[...] = tokens


def _merge(sample: Mix, table: LayerTable) -> list[tuple[TokenSet, float]]:
    """Sums the strengths of repeats and drops what ends at zero, which keeps L small."""
    strengths: dict[int, float] = {}
    sets: Mapping[int, TokenSet] = {id(token_set): token_set for token_set, _ in sample}
    for token_set, strength in sample:
        check_strength(strength)
        _check_shapes(token_set, table)
        strengths[id(token_set)] = strengths.get(id(token_set), 0.0) + strength
    return [(sets[key], strength) for key, strength in strengths.items() if strength != 0]


def _check_shapes(token_set: TokenSet, table: LayerTable) -> None:
    convs = {layer.name: layer for layer in table.convs}
    for group, layers, side in (
        (token_set.P, convs, "out_channels"),
        (token_set.Q, convs, "in_channels"),
        (token_set.style_offset, table.by_name, "in_channels"),
        (token_set.modulation, convs, "in_channels"),
    ):
        for name, array in group.items():
            if name not in layers:
                raise _foreign(token_set, f"a layer {name}", "the layers of this generator")
            width = getattr(layers[name], side)
            if array.shape[-1] != width:
                raise _foreign(token_set, f"{array.shape[-1]} channels at {name}", f"{width}")


def _foreign(token_set: TokenSet, found: str, expected: str) -> IncompatibleError:
    return IncompatibleError(
        f"the token set {token_set.name!r} does not fit this generator",
        found=found,
        expected=expected,
    )


def check_strength(strength: float) -> None:
    """Refuses a strength that is not finite."""
    if not math.isfinite(strength):
        raise UsageError(
            "a strength must be a finite number", found=str(strength), expected="for example 0.7"
        )
