"""The public ArcFace network of pSp's ID loss, and the trunk that encoders start from.

Source: Deng et al. 2019; the file `model_ir_se50.pth` that pSp and its successors use. Its trunk is
theirs: what `rs_train.inverters.trunk` builds.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.inverters.base import load_base
from rs_train.inverters.iresnet import IResNet
from rs_train.inverters.resnet_trunk import ResNetTrunk
from rs_train.inverters.trunk import Trunk
from rs_train.perceptual.preprocessing import to_size
from rs_train.perceptual.public_weights import fill, read_state

CHANNELS = (64, 128, 256, 512)
SIZE = 112
# Rows and columns of the face on an aligned 256 x 256 picture.
ALIGNED, ROWS, COLUMNS = 256, slice(35, 223), slice(32, 220)

_RENAMED = (
    (r"^(body\.\d+)\.res_layer\.5\.fc1\.", r"\1.residual.5.reduce."),
    (r"^(body\.\d+)\.res_layer\.5\.fc2\.", r"\1.residual.5.expand."),
    (r"^(body\.\d+)\.res_layer\.", r"\1.residual."),
    (r"^(body\.\d+)\.shortcut_layer\.", r"\1.projection."),
)


class IRSE50(nn.Module):
    """Identity embedding of aligned faces."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(3, CHANNELS)
        self.norm = nn.BatchNorm2d(CHANNELS[-1])
        self.linear = nn.Linear(CHANNELS[-1] * (SIZE // 16) ** 2, 512)
        self.norm_output = nn.BatchNorm1d(512)

    def embed(self, image: Tensor) -> Tensor:
        """Unit identity vectors [N, 512] of aligned faces [N, 3, H, W] in [-1, 1].

        As in pSp: at 256 x 256 the rows 35 to 223 and columns 32 to 220, area-pooled to 112 x 112,
        channels as they come (RGB). Pictures of another size are brought to 256 x 256 first.
        """
        flat = self.linear(self.norm(self.features(image)[-1]).flatten(1))
        return F.normalize(self.norm_output(flat).float(), dim=1)

    def features(self, image: Tensor) -> list[Tensor]:
        """Maps of the four stages, of the same pictures."""
        face = to_size(image, ALIGNED)[:, :, ROWS, COLUMNS]
        return self.trunk.stages(F.adaptive_avg_pool2d(face, SIZE))

    forward = embed


def load_ir_se50(path: Path) -> IRSE50:
    """Read `model_ir_se50.pth`.

    Raises:
        RefineStyleError: See `read_state` and `fill`.
    """
    state = {f"trunk.{name}": value for name, value in trunk_state(read_state(path)).items()}
    head = {
        "output_layer.0.": "norm.",
        "output_layer.3.": "linear.",
        "output_layer.4.": "norm_output.",
    }
    for name, value in read_state(path).items():
        for old, new in head.items():
            if name.startswith(old):
                state[new + name.removeprefix(old)] = value
    network = IRSE50()
    fill(network, state, path, "an IR-SE50 (ArcFace)")
    return network


@torch.no_grad()
def start_trunk(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy another network's trunk into an encoder's.

    Of an input layer that also sees an inversion, the half that sees the image is copied; the
    other keeps its random start, as in ReStyle.

    Args:
        model: Holds one trunk.
        state: Tensors by that trunk's names; where the input layer is missing it stays as it is.

    Raises:
        IncompatibleError: The trunk has other widths.
    """
    (trunk,) = (m for m in model.modules() if isinstance(m, Trunk | ResNetTrunk | IResNet))
    own, found = trunk.state_dict(), dict(state)
    name = "input_layer.0.weight"
    if name in found and own[name].shape[1] > 3:
        found[name] = torch.cat([found[name], own[name][:, 3:]], dim=1)
    try:
        trunk.load_state_dict(own | found)
    except RuntimeError as error:
        raise IncompatibleError(
            "the trunk to start from does not fit the encoder's",
            found=" ".join(str(error).split())[:200],
            expected="the same widths: set network.channels to them",
        ) from error


def read_trunk(path: Path) -> dict[str, Tensor]:
    """Read the trunk of a face network's public file, or of a base inverter of this project.

    Args:
        path: `model_ir_se50.pth`, or a .safetensors checkpoint of `rs-train inverter`.

    Returns:
        Tensors by the names of `Trunk`.

    Raises:
        RefineStyleError: See `read_state` and `load_base`.
    """
    if path.suffix != ".safetensors":
        return trunk_state(read_state(path))
    (trunk,) = (module for module in load_base(path).modules() if isinstance(module, Trunk))
    return trunk.state_dict()


def trunk_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The trunk's tensors by this project's names, out of a file with the public ones."""
    found = {}
    for name, value in state.items():
        if not name.startswith(("input_layer.", "body.")):
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found
