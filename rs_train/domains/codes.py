"""Inverted portraits as latents: what domain tokens will be used on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from rs_train.generator import Generator, PackedTokens
from rs_train.generator.belongings import read_belongings, write_belongings
from rs_train.inverters.base import first_latent
from rs_train.inverters.one_stage import OneStage
from rs_train.inverters.pooling import pool_to

FORMAT = "refinestyle-codes"
_TENSORS = ("w_plus", "P", "Q")
_BATCH = 16


@dataclass(frozen=True)
class Codes:
    """Latents of M portraits.

    Attributes:
        w_plus: [M, num_ws, w_dim].
        P: The portraits' own tokens [M, L, sum of Cout]; L is 0 for a base inverter alone.
        Q: [M, L, sum of Cin].
    """

    w_plus: Tensor
    P: Tensor
    Q: Tensor

    def __len__(self) -> int:
        """Number of portraits."""
        return len(self.w_plus)

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Self:
        """Some of the portraits."""
        return type(self)(self.w_plus[index], self.P[index], self.Q[index])

    @property
    def tokens(self) -> PackedTokens:
        """The portraits' own tokens, packed."""
        return PackedTokens(P=self.P, Q=self.Q) if self.P.shape[1] else PackedTokens()


@torch.no_grad()
def invert(
    images: Tensor, generator: Generator, base: nn.Module, refiner: nn.Module | None
) -> Codes:
    """Invert portraits with a base inverter and, when given, a refiner, or with a one-stage model.

    Args:
        images: [M, 3, S, S] in [-1, 1].
        generator: Whose latents are sought.
        base: Base inverter of any kind, or a one-stage inverter.
        refiner: Picture and first inversion to P and Q.

    Returns:
        Codes in fp32.
    """
    parts = []
    for image in images.split(_BATCH):
        if isinstance(base, OneStage):
            found = base(pool_to(image, base.config.image_size))
            parts.append(tuple(part.float() for part in found))
            continue
        w_plus = first_latent(base, image, generator.synthesis).float()
        P = w_plus.new_zeros(len(image), 0, generator.table.sum_out)
        Q = w_plus.new_zeros(len(image), 0, generator.table.sum_in)
        if refiner is not None:
            photo = pool_to(image, refiner.config.image_size)
            P, Q = refiner(photo, generator.synthesis(w_plus))
        parts.append((w_plus, P.float(), Q.float()))
    return Codes(*(torch.cat(column) for column in zip(*parts, strict=True)))


def write_codes(path: Path, codes: Codes, generator: Generator) -> None:
    """Write codes as safetensors that name their generator."""
    tensors = {name: getattr(codes, name) for name in _TENSORS}
    write_belongings(path, FORMAT, generator, tensors)


def read_codes(path: Path, generator: Generator) -> Codes:
    """Read codes of this generator.

    Raises:
        MalformedFileError: Not a file that `write_codes` wrote.
        IncompatibleError: Made for another generator.
    """
    remedy = "delete it; it is made anew from --portraits"
    tensors, _ = read_belongings(
        path, generator, _TENSORS, what="inverted portraits", remedy=remedy
    )
    return Codes(*tensors)
