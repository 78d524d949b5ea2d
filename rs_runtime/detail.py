"""What an inverted picture keeps beside its latent, and how it is drawn with it.

tokens       the kernels of the synthesis are refined by them, a domain's tokens added
feature map  read at one layer of the synthesis instead of the generator's own; where the latent
             or the domain changes, a network moves it as the generator's own map moves:

    feature' = shift(feature, lower(w), lower(w', domain))
    picture  = upper(lower(w', domain) + strength (feature' - lower(w', domain)), w', domain)

so that strength 0 is the picture of the latent alone and 1 the one with all detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.editing import EditList, edit
from rs_runtime.mixing import (
    Float32,
    Mix,
    PackedTokens,
    neutral,
    per_sample,
    scale,
    split_layers,
)
from rs_runtime.roles import RoleRunner
from rs_runtime.synthesis import Synthesis


class Detail(Protocol):
    """What N pictures keep beside their latents w_plus [N, num_ws, w_dim].

    Attributes:
        tokens: Packed tokens of their own; neutral where there are none.
        feature: Feature maps of their own [N, C, h, w]; None where there are none.
    """

    tokens: PackedTokens
    feature: Float32 | None

    def draw(
        self,
        w_plus: Float32,
        mixes: Sequence[Mix],
        edits: Sequence[EditList],
        strength: float | Sequence[float],
    ) -> dict[str, Any]:
        """Draws the pictures, edited, in a mix of domains.

        Args:
            w_plus: The latents.
            mixes: Domains and strengths of each sample.
            edits: Directions and strengths of each sample.
            strength: Factor on the detail, one or one for each sample.

        Returns:
            Outputs of the synthesis, image and image_float.
        """

    def layers(self, sample: int) -> tuple[dict[str, Float32], dict[str, Float32]]:
        """One sample's P and Q by layer, as a token set keeps them.

        Raises:
            IncompatibleError: A token set cannot hold what there is.
        """


class TokenDetail:
    """Tokens that refine the kernels of the synthesis; neutral ones where there is no detail."""

    feature = None

    def __init__(self, synthesis: Synthesis, table: LayerTable, tokens: PackedTokens) -> None:
        """Keeps the tokens of N pictures."""
        self._synthesis = synthesis
        self._table = table
        self.tokens = tokens

    def draw(
        self,
        w_plus: Float32,
        mixes: Sequence[Mix],
        edits: Sequence[EditList],
        strength: float | Sequence[float],
    ) -> dict[str, Any]:
        """See ``Detail``."""
        own = scale(self.tokens, strength)
        with self._synthesis.workspace.mix(mixes, self._table, onto=own) as tokens:
            return self._synthesis.whole(*edit(w_plus, tokens, edits, self._table))

    def layers(self, sample: int) -> tuple[dict[str, Float32], dict[str, Float32]]:
        """See ``Detail``."""
        return split_layers(self.tokens, sample, self._table)


class FeatureDetail:
    """A feature map at the split of the synthesis."""

    def __init__(
        self,
        roles: RoleRunner,
        synthesis: Synthesis,
        table: LayerTable,
        w_plus: Float32,
        feature: Float32,
    ) -> None:
        """Keeps what role `feature_encoder` found.

        Args:
            roles: Runs role `feature_shift`.
            synthesis: Runs the parts.
            table: Layer table of the generator.
            w_plus: Latents as they were found.
            feature: Feature maps.
        """
        self._roles = roles
        self._synthesis = synthesis
        self._table = table
        self._w_plus = w_plus
        self.feature = feature
        self.tokens = neutral(len(w_plus), table)

    @cached_property
    def _source(self) -> dict[str, NDArray[np.float32]]:
        return self._synthesis.lower(self._w_plus, self.tokens)

    def draw(
        self,
        w_plus: Float32,
        mixes: Sequence[Mix],
        edits: Sequence[EditList],
        strength: float | Sequence[float],
    ) -> dict[str, Any]:
        """See ``Detail``."""
        factors = per_sample(strength, len(w_plus))[:, None, None, None]
        if not any(mixes) and not any(edits):
            return self._upper(self._source, w_plus, self.tokens, factors)
        with self._synthesis.workspace.mix(mixes, self._table) as tokens:
            w_plus, tokens = edit(w_plus, tokens, edits, self._table)
            lower = self._synthesis.lower(w_plus, tokens, keep=("rgb",))
            return self._upper(lower, w_plus, tokens, factors)

    def layers(self, sample: int) -> tuple[dict[str, Float32], dict[str, Float32]]:
        """See ``Detail``."""
        raise no_token_set()

    def _upper(
        self, lower: dict[str, Any], w_plus: Float32, tokens: PackedTokens, factors: Float32
    ) -> dict[str, Any]:
        """Draws the layers above the split, of the feature map moved along with ``lower``."""
        feature = self._roles.run(
            "feature_shift",
            feature=self.feature,
            lower_source=self._source["feature"],
            lower_domain=lower["feature"],
        )["shifted"]
        if np.any(factors != 1):
            feature = lower["feature"] + factors * (feature - lower["feature"])
        return self._synthesis.upper(feature, lower["rgb"], w_plus, tokens)


def no_token_set() -> IncompatibleError:
    """The refusal to keep a picture that has a feature map in a file for tokens."""
    return IncompatibleError(
        "a token set cannot hold an inversion of this bundle",
        found="a feature map beside the latent",
        expected="tokens, which bundles of the models two_stage and one_stage give",
        hint="keep the picture itself, and invert it again",
    )
