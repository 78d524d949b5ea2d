"""The heads that a domain is trained on, synthesised once by the unchanged generator."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rs_train.devices import Precision, autocast
from rs_train.domains.codes import Codes
from rs_train.generator import Generator, PackedTokens
from rs_train.pixels import from_levels, to_levels

_BATCH = 4  # small enough for 1024 x 1024


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """Which heads are drawn.

    Attributes:
        random_heads: Number of heads from random z.
        truncation: Range that truncation_psi is drawn from, uniformly.
        mixing_probability: Chance that a head's w_plus changes to a second w part-way.
        portrait_share: Share of inverted portraits in a batch, when there are any.
    """

    random_heads: int = 384
    truncation: tuple[float, float] = (0.7, 1.0)
    mixing_probability: float = 0.3
    portrait_share: float = 0.5


class Heads(NamedTuple):
    """A batch of heads."""

    w_plus: Tensor  # [N, num_ws, w_dim]
    tokens: PackedTokens  # the heads' own tokens; P and Q absent when no head has any
    image: Tensor  # the unchanged generator's pictures [N, 3, R, R], clamped to [-1, 1]


class HeadPool:
    """A fixed set of random heads and inverted portraits with their source pictures.

    Synthesising the source picture once instead of in every step saves a quarter of a training.

    Args:
        generator: The unchanged generator; frozen.
        config: Which heads.
        portraits: Inverted portraits, or None.
        seed: Of the random heads.
        precision: Of the synthesis.
    """

    def __init__(
        self,
        generator: Generator,
        config: PoolConfig,
        portraits: Codes | None,
        *,
        seed: int,
        precision: Precision,
    ) -> None:
        self.config = config
        self.random = draw_w_plus(generator, config, seed)
        table = generator.table
        rank = 0 if portraits is None else portraits.P.shape[1]
        empty = Codes(
            self.random,
            self.random.new_zeros(len(self.random), rank, table.sum_out),
            self.random.new_zeros(len(self.random), rank, table.sum_in),
        )
        device = self.random.device
        parts = [empty]
        if portraits is not None:
            parts.append(Codes(*(getattr(portraits, n).to(device) for n in ("w_plus", "P", "Q"))))
        self.codes = Codes(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("w_plus", "P", "Q"))
        )
        self.image = _synthesize(generator, self.codes, precision)

    def __len__(self) -> int:
        """Number of heads."""
        return len(self.codes)

    def take(self, index: Tensor) -> Heads:
        """The heads `index`: first the random ones, then the portraits."""
        codes = self.codes[index]
        image = from_levels(self.image[index])
        return Heads(codes.w_plus, codes.tokens, image)

    def draw(self, count: int) -> Heads:
        """A random batch with the configured share of portraits."""
        first = len(self.random)
        portraits = len(self) - first
        wanted = 0
        if portraits:
            wanted = round(count * self.config.portrait_share) if first else count
        index = torch.cat(
            [
                torch.randint(max(first, 1), (count - wanted,)),
                first + torch.randint(max(portraits, 1), (wanted,)),
            ]
        )
        return self.take(index.to(self.image.device))


@torch.no_grad()
def draw_w_plus(generator: Generator, config: PoolConfig, seed: int) -> Tensor:
    """w_plus [random_heads, num_ws, w_dim] of random heads, some with two styles mixed."""
    rng = torch.Generator().manual_seed(seed)
    count, rows = config.random_heads, generator.num_ws
    device = generator.latent_avg.device
    z = torch.randn(2, count, generator.config.z_dim, generator=rng).to(device)
    low, high = config.truncation
    psi = low + (high - low) * torch.rand(count, 1, generator=rng).to(device)
    first, second = (generator.mapping(part, psi).float() for part in z)
    cut = torch.randint(1, rows, (count, 1), generator=rng)
    is_mixed = torch.rand(count, 1, generator=rng) < config.mixing_probability
    takes_second = ((torch.arange(rows) >= cut) & is_mixed).to(device)
    return torch.where(takes_second[:, :, None], second[:, None], first[:, None])


@torch.no_grad()
def _synthesize(generator: Generator, codes: Codes, precision: Precision) -> Tensor:
    """Source pictures as uint8 [M, 3, R, R], a quarter of the memory of floats."""
    pictures = []
    for start in range(0, len(codes), _BATCH):
        part = codes[slice(start, start + _BATCH)]
        with autocast(part.w_plus.device, precision):
            image = generator.synthesis(part.w_plus, part.tokens)
        pictures.append(to_levels(image))
    return torch.cat(pictures)
