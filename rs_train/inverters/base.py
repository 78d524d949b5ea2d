"""What all base inverters have in common: a picture in, w_plus out."""

from pathlib import Path

from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.checkpoint import load_model, read_record
from rs_train.inverters.pooling import pool_to
from rs_train.inverters.restyle import ReStyle, Synthesis

BASE_KINDS = ("style_transformer", "psp", "e4e", "restyle")


def load_base(path: Path) -> nn.Module:
    """Read a base inverter of any kind.

    Raises:
        IncompatibleError: Another kind of model.
        RefineStyleError: See `load_model`.
    """
    kind = read_record(path)["kind"]
    if kind not in BASE_KINDS:
        raise IncompatibleError(
            f"{path}: not a base inverter", found=kind, expected=" or ".join(BASE_KINDS)
        )
    return load_model(path)


def first_latent(base: nn.Module, image: Tensor, synthesis: Synthesis) -> Tensor:
    """Invert images with a base inverter of any kind.

    Args:
        base: The inverter.
        image: [N, 3, R, R] in [-1, 1], R a multiple of the inverter's size.
        synthesis: From w_plus to the float image; only iterative inverters look at it.

    Returns:
        w_plus [N, num_ws, w_dim].

    Raises:
        IncompatibleError: R is no such multiple.
    """
    image = pool_to(image, base.config.image_size)
    if isinstance(base, ReStyle):
        return base.steps(image, synthesis)[-1]
    return base(image)
