"""What CLIP's image tower says of the places of a picture, beside its one embedding."""

from typing import Any

from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.perceptual.clip import ClipGuide

BLOCK = 3  # of a vision transformer, counted from 0: early, where vectors tell of texture


def embed_with_tokens(clip: ClipGuide, image: Tensor) -> tuple[Tensor, Tensor]:
    """Embed pictures and keep the vectors of their places; differentiable.

    Args:
        clip: A vision transformer or a residual network.
        image: Pictures [N, 3, H, W] in [-1, 1].

    Returns:
        The embedding [N, D], unit vectors, and vectors [N, T, C] in the order of the places: of a
        vision transformer its patches' after block 3, without the class token; of a residual

    Raises:
        IncompatibleError: The image tower is neither.

    Source of the choice of the block: DiFa (Zhang et al. 2022). The stage is this project's choice.
    """
    kept: list[Tensor] = []
    hook = _layer(clip).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        embedding = clip.embed_image(image)
    finally:
        hook.remove()
    (output,) = kept
    if output.ndim == 4:
        return embedding, output.flatten(2).transpose(1, 2)
    return embedding, output[:, 1:]


def _layer(clip: ClipGuide) -> nn.Module:
    """The module whose output is looked at."""
    tower: Any = clip.network.visual
    if hasattr(tower, "layer2"):
        return tower.layer2
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", ())
    # Without batch_first the blocks see [T, N, C]; none of the public CLIPs is built so.
    if len(blocks) <= BLOCK or not tower.transformer.batch_first:
        raise IncompatibleError(
            "This CLIP does not show the places of a picture",
            found=type(tower).__name__,
            expected=f"a residual network, or a vision transformer of more than {BLOCK} blocks",
        )
    return blocks[BLOCK]
