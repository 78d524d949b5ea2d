"""The public iResNet-50 face network, which a Feature-Style-Encoder's trunk starts from."""

from pathlib import Path

from torch import Tensor

from rs_train.perceptual.public_weights import read_state

_TRUNK = ("conv1.", "bn1.", "prelu.", "layer")


def read_iresnet50(path: Path) -> dict[str, Tensor]:
    """Read the `backbone.pth` of one of ArcFace's iResNet-50 networks.

    Returns:
        Tensors by the names of `IResNet`; the head of the face network is left out.

    Raises:
        RefineStyleError: See `read_state`.
    """
    state = read_state(path)
    return {name: value for name, value in state.items() if name.startswith(_TRUNK)}
