"""torchvision's ResNet-34 of ImageNet, which HyperStyle's trunk starts from."""

import re
from itertools import accumulate
from pathlib import Path

from torch import Tensor

from rs_train.inverters.resnet_trunk import UNITS_PER_STAGE
from rs_train.perceptual.public_weights import read_state

_STEM = {"conv1.": "input_layer.0.", "bn1.": "input_layer.1."}


def read_resnet34(path: Path) -> dict[str, Tensor]:
    """Read `resnet34-333f7ec4.pth`.

    Returns:
        Tensors by the names of `ResNetTrunk`; the classifier is left out.

    Raises:
        RefineStyleError: See `read_state`.
    """
    first = (0, *accumulate(UNITS_PER_STAGE))
    found = {}
    for name, value in read_state(path).items():
        stem = next((old for old in _STEM if name.startswith(old)), None)
        if stem is not None:
            found[_STEM[stem] + name.removeprefix(stem)] = value
        elif unit := re.match(r"layer(\d)\.(\d)\.", name):
            index = first[int(unit[1]) - 1] + int(unit[2])
            found[f"body.{index}.{name[unit.end() :]}"] = value
    return found
