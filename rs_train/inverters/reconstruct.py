"""From pictures to what a whole inversion system makes of them, whichever system it is."""

from pathlib import Path

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.checkpoint import load_model
from rs_train.generator import Generator, PackedTokens
from rs_train.inverters.base import BASE_KINDS, first_latent
from rs_train.inverters.hfgi import HFGI
from rs_train.inverters.hyperstyle import HyperStyle
from rs_train.inverters.one_stage import OneStage
from rs_train.inverters.pooling import pool_to
from rs_train.inverters.refine import Refiner
from rs_train.inverters.second_stage import SecondStage

FIRST_KINDS = (*BASE_KINDS, OneStage.kind)
SECOND_KINDS = (Refiner.kind, HyperStyle.kind, HFGI.kind)
_BATCH = 16


@torch.no_grad()
def reconstruct(
    images: Tensor, generator: Generator, first: nn.Module, second: SecondStage | None = None
) -> Tensor:
    """Invert pictures and draw them again.

    Args:
        images: [N, 3, R, R] in [-1, 1], R a multiple of what the encoders read.
        generator: Whose latents are sought.
        first: Base inverter of any kind, or a one-stage inverter.
        second: What improves on a base inverter: a refiner, HyperStyle or HFGI.

    Returns:
        Reconstructions [N, 3, R', R'] at the generator's size, unclamped, fp32.

    Raises:
        IncompatibleError: Sizes that are no multiples.
    """
    parts = [_reconstruct(part, generator, first, second) for part in images.split(_BATCH)]
    return torch.cat(parts)


def load_system(first: Path, second: Path | None = None) -> tuple[nn.Module, SecondStage | None]:
    """Read what `reconstruct` needs beside the generator.

    Args:
        first: Checkpoint of a base inverter or of a one-stage inverter.
        second: Checkpoint of what improves on a base inverter.

    Raises:
        IncompatibleError: Kinds of model that do not make a system.
        RefineStyleError: See `load_model`.
    """
    model = load_model(first)
    kinds = FIRST_KINDS if second is None else BASE_KINDS
    _check(first, model, kinds)
    if second is None:
        return model, None
    improvement = load_model(second)
    _check(second, improvement, SECOND_KINDS)
    return model, improvement


def _check(path: Path, model: nn.Module, kinds: tuple[str, ...]) -> None:
    if model.kind not in kinds:
        raise IncompatibleError(
            f"{path}: not what this place of an inversion system needs",
            found=model.kind,
            expected=" or ".join(kinds),
        )


def _reconstruct(
    image: Tensor, generator: Generator, first: nn.Module, second: SecondStage | None
) -> Tensor:
    synthesis = generator.synthesis
    if isinstance(first, OneStage):
        w_plus, P, Q = first(pool_to(image, first.config.image_size))
        return synthesis(w_plus, PackedTokens(P, Q))
    w_plus = first_latent(first, image, synthesis)
    drawn = synthesis(w_plus)
    if second is None:
        return drawn
    photo = pool_to(image, second.config.image_size)
    return second.improve(photo, w_plus, drawn, synthesis)
