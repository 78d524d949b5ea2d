"""How edits act on N samples: directions with strengths change latents and styles, never tokens.

Every coordinate is read off the latent as it was, so that edits add up in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rs_runtime.contracts.directions import Direction, check_fits
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.mixing import Float32, PackedTokens, check_strength

EditList: TypeAlias = Sequence[tuple[Direction, float]]


def edit(
    w_plus: Float32, tokens: PackedTokens, samples: Sequence[EditList], table: LayerTable
) -> tuple[Float32, PackedTokens]:
    """Applies each sample's edits.

    Args:
        w_plus: [N, num_ws, w_dim].
        tokens: Packed tokens of the N samples.
        samples: For each sample its (direction, strength) pairs.
        table: Layer table of the generator.

    Returns:
        The latents, and the tokens with the style offsets of the edits added; the arguments
        themselves where nothing changes.

    Raises:
        UsageError: A strength that is not finite.
        IncompatibleError: A direction whose layers or shapes are not this generator's.
    """
    if not any(samples):
        return w_plus, tokens
    edited, offsets = w_plus.copy(), tokens.style_offset.copy()
    for n, edits in enumerate(samples):
        for direction, strength in edits:
            check_strength(strength)
            check_fits(direction, table)
            factor = np.float32(strength)
            if direction.step is not None:
                edited[n] += factor * _distance(direction, w_plus[n, 0]) * direction.step
            for layer, offset in direction.style_offset.items():
                offsets[n, table.style_slices[layer]] += factor * offset
    return edited, tokens._replace(style_offset=offsets)


def _distance(direction: Direction, w: Float32) -> np.float32:
    """How many steps make the whole edit: 1, or what is left to the goal of an absolute one."""
    if direction.axis is None:
        return np.float32(1)
    return np.float32(direction.axis @ (direction.goal - w))
