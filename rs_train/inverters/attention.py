"""Decoder layers with which learned tokens read feature maps.

Plain matrix products and softmax: the layers trace to standard operators with a dynamic batch, and
a token tensor that does not depend on the batch stays so until it meets the features.
"""

import math

from torch import Tensor, nn


def as_sequence(features: Tensor) -> Tensor:
    """Flatten a map [N, C, H, W] row by row to keys [N, H·W, C]."""
    return features.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, Eq. 1), biases everywhere."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Let each token read ``memory``.

        Args:
            tokens: [M, T, C]; M = 1 broadcasts over the batch of the memory.
            memory: [N, K, C]; N = 1 or M or, for M = 1, any.

        Returns:
            [max(M, N), T, C].
        """
        query = self._split(self.query(tokens))
        key = self._split(self.key(memory))
        value = self._split(self.value(memory))
        scale = 1.0 / math.sqrt(query.shape[-1])
        weights = ((query * scale) @ key.transpose(-2, -1)).softmax(-1)
        return self.output((weights @ value).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[N, T, C] → [N, heads, T, C/heads]."""
        return x.unflatten(-1, (self.heads, x.shape[-1] // self.heads)).transpose(1, 2)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; each added, then normalised (post-norm).

    The feed-forward width is twice the token width, its activation ReLU. The published training
    used dropout 0.1; it is left out, a frozen generator already keeps images on its manifold.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.norm_self = nn.LayerNorm(width)
        self.norm_cross = nn.LayerNorm(width)
        self.norm_output = nn.LayerNorm(width)

    def mix(self, tokens: Tensor) -> Tensor:
        """Self-attention over T, residual and norm: [M, T, C] → [M, T, C]."""
        return self.norm_self(tokens + self.self_attention(tokens, tokens))

    def read(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Cross-attention and feed-forward.

        Args:
            tokens: [M, T, C], M = 1 or N.
            features: map [N, C, H, W].

        Returns:
            [N, T, C].
        """
        tokens = self.norm_cross(tokens + self.cross_attention(tokens, as_sequence(features)))
        return self.norm_output(tokens + self.feed_forward(tokens))

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Mix all tokens, then let them read the map: [M, T, C], [N, C, H, W] → [N, T, C]."""
        return self.read(self.mix(tokens), features)


class GroupedDecoderLayer(DecoderLayer):
    """A decoder layer whose self-attention stays inside groups of tokens (RefineStyle's block).

    The same parameters serve all groups; only the cross-attention and the feed-forward, which act
    on each token alone, see the whole set.

    Args:
        width: C of the tokens.
        heads: Attention heads.
        grouped: False lets every token mix with every other, the ablation of the grouping.
    """

    def __init__(self, width: int, heads: int, *, grouped: bool = True) -> None:
        super().__init__(width, heads)
        self.grouped = grouped

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Mix inside groups, then read.

        Args:
            tokens: [M, G, L, C], M = 1 or N.
            features: map [N, C, H, W].

        Returns:
            [N, G, L, C].
        """
        groups, length = tokens.shape[1:3]
        if not self.grouped:
            return super().forward(tokens.flatten(1, 2), features).unflatten(1, (groups, length))
        mixed = self.mix(tokens.flatten(0, 1))
        mixed = mixed.unflatten(0, (-1, groups)).flatten(1, 2)
        return self.read(mixed, features).unflatten(1, (groups, length))
