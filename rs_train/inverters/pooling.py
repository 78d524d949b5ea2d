"""From a synthesised image to what an encoder reads of it: area pooling, middle rows."""

import torch.nn.functional as F
from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError


def pool_to(image: Tensor, size: int) -> Tensor:
    """Average equal square cells of an image down to ``size``.

    Area pooling is what the published recipes use between a generator and a 256² encoder;
    restricted to whole factors it is one AveragePool in a graph, so training and export agree.

    Args:
        image: [N, 3, R, R], any float dtype.
        size: side S of the result; R must be a multiple of S.

    Returns:
        [N, 3, S, S]; the very same tensor when R = S.

    Raises:
        IncompatibleError: R is not a whole multiple of S.
    """
    height, width = image.shape[-2:]
    if height == size and width == size:
        return image
    if height != width or height % size:
        raise IncompatibleError(
            "the synthesised image cannot be pooled to the encoder's size",
            found=f"{height}×{width}",
            expected=f"a square whose side is a multiple of {size}",
            hint="choose an encoder image_size that divides the generator's resolution",
        )
    return F.avg_pool2d(image, height // size)


def middle_rows(image: Tensor, height: int | None) -> Tensor:
    """Cut the rows in the middle out of an image.

    Generators draw squares; of those of cars a quarter is empty above and below, and their
    encoders read the 192 rows between.

    Args:
        image: [N, C, H, W], H at least ``height``.
        height: rows to keep; None for all.

    Returns:
        [N, C, height, W]; the very same tensor when there is nothing to cut.
    """
    if height is None or height == image.shape[-2]:
        return image
    top = (image.shape[-2] - height) // 2
    return image[..., top : top + height, :]
