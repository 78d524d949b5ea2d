"""Runs the synthesis graphs: the whole network, or its two parts, split at a feature map."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from rs_runtime.both import both
from rs_runtime.contracts.errors import NumericsError
from rs_runtime.engines.base import FINITE, Value, as_array
from rs_runtime.mixing import Float32, PackedTokens, Workspace, take
from rs_runtime.roles import RoleRunner


class Synthesis:
    """The synthesis network of a bundle.

    ``upper`` of what ``lower`` gives, with the same latents and tokens, is ``whole``. Outputs that
    are named in ``keep`` may stay on the device, see ``Engine.run``.

    Attributes:
        workspace: Where tokens may be mixed that are drawn at once.
    """

    def __init__(self, roles: RoleRunner) -> None:
        """Opens no graph yet."""
        self.workspace = Workspace()
        self._roles = roles

    def whole(
        self, w_plus: Float32, tokens: PackedTokens, keep: Collection[str] = ()
    ) -> dict[str, Any]:
        """Draws pictures.

        Args:
            w_plus: [N, num_ws, w_dim].
            tokens: Packed tokens of the N samples.
            keep: Outputs for another role alone.

        Returns:
            image uint8 [N, R, R, 3]; image_float float32 [N, 3, R, R], unclamped.
        """
        return self._run("synthesis", tokens, keep, w_plus=w_plus)

    def lower(
        self, w_plus: Float32, tokens: PackedTokens, keep: Collection[str] = ()
    ) -> dict[str, Any]:
        """Runs the layers below the split; arguments as ``whole``.

        Returns:
            feature float32 [N, C, h, w], the map that the first layer above reads; rgb float32
            [N, 3, h', w'], the picture so far.
        """
        return self._run("synthesis_lower", tokens, keep, w_plus=w_plus)

    def upper(
        self, feature: Value, rgb: Value, w_plus: Float32, tokens: PackedTokens
    ) -> dict[str, Any]:
        """Runs the layers above the split; arguments as what ``lower`` gives and takes.

        Returns:
            As ``whole``.
        """
        return self._run("synthesis_upper", tokens, (), feature=feature, rgb=rgb, w_plus=w_plus)

    def _run(
        self, role: str, tokens: PackedTokens, keep: Collection[str], **samples: Value
    ) -> dict[str, Any]:
        # Run in the graph's own pieces, so that a sample of low rank pays for no other's.
        step, count = self._roles.largest_batch(role), len(tokens.P)
        if count <= step:
            return self._roles.run(role, keep=keep, **samples, **tokens._asdict())
        arrays = {name: as_array(value) for name, value in samples.items()}
        pieces = []
        for start in range(0, count, step):
            rows = slice(start, start + step)
            own = {name: value[rows] for name, value in arrays.items()}
            pieces.append(self._roles.run(role, **own, **take(tokens, rows)._asdict()))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def require_finite(role: str, outputs: dict[str, Any], names: Sequence[str], hint: str) -> None:
    """Refuses outputs that are not finite.

    Args:
        role: What gave them.
        outputs: By name.
        names: Which to look at, unless the engine has done so.
        hint: The next step.

    Raises:
        NumericsError: One of the named outputs has NaN or an infinity.
    """
    told = outputs.get(FINITE)  # by the engine
    finite = told if told is not None else [_finite(as_array(outputs[name])) for name in names]
    if not np.all(finite):
        raise NumericsError(f"the {role} gave values that are not finite", hint=hint)


def _finite(values: Float32) -> bool:
    # A picture is large: a sum takes one pass, and is finite only where every value is.
    half, rest = np.array_split(values.reshape(-1), 2)
    totals = both(
        lambda: np.einsum("i->", half), lambda: np.einsum("i->", rest), nbytes=values.nbytes
    )
    return bool(np.isfinite(totals).all()) or bool(np.isfinite(values).all())
