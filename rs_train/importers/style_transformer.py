"""The encoder in a Style Transformer file (Hu et al. 2022)."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.importers.encoder_parts import (
    image_height,
    rename_pyramid,
    require_input_channels,
    require_rows,
    trunk_channels,
)
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig

_LAYERS = ("coarse", "medium", "fine")
_ATTENTION = {"self_attn": "self_attention", "multihead_attn": "cross_attention"}
_OTHERS = {
    "linear1": "feed_forward.0",
    "linear2": "feed_forward.2",
    "norm1": "norm_self",
    "norm2": "norm_cross",
    "norm3": "norm_output",
}


def encoder_from_state(
    state: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    latent_avg: Tensor,
    num_ws: int,
    mapping: Callable[[Tensor], Tensor],
) -> StyleTransformer:
    """Build the encoder.

    Args:
        state: Tensors of `encoder.*` without the prefix.
        facts: The training's options.
        latent_avg: [w_dim] or [num_ws, w_dim] with equal rows.
        num_ws: Rows that the generator reads.
        mapping: The mapping network that the file's generator holds, [M, z_dim] to [M, w_dim].

    Raises:
        IncompatibleError: An encoder of another kind.
        KeyError, RuntimeError, ValueError: Tensors that do not form one.
    """
    require_input_channels(state, 3)
    left = dict(state)
    z = left.pop("z")
    spare = z.shape[1] - num_ws
    if spare < 0:
        require_rows(z.shape[1], num_ws)
    rows = latent_avg.float().expand(num_ws, -1)
    if (rows != rows[0]).any():
        raise IncompatibleError("the encoder adds another average to each row of w_plus")
    channels = trunk_channels(state)
    config = StyleTransformerConfig(
        image_height=image_height(facts),
        num_ws=num_ws,
        z_dim=z.shape[2],
        w_dim=channels[-1],
        channels=channels,
        spare_queries=spare,
    )
    encoder = StyleTransformer(config)
    average = rows[0] if facts.get("start_from_latent_avg", True) else rows[0] * 0
    renamed = {"z": z.float(), "query": encoder.query, "latent_avg": average}
    for index, name in enumerate(_LAYERS):
        renamed |= _decoder_layer(left, f"transformerlayer_{name}.", f"layers.{index}.")
    encoder.load_state_dict(renamed | rename_pyramid(left))
    encoder.bake(mapping)
    return encoder


def _decoder_layer(left: dict[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Take one decoder layer out of `left`; PyTorch packs query, key and value in that order."""
    out = {}
    for name, target in _ATTENTION.items():
        for part in ("weight", "bias"):
            packed = left.pop(f"{theirs}{name}.in_proj_{part}").float().chunk(3)
            for role, tensor in zip(("query", "key", "value"), packed, strict=True):
                out[f"{ours}{target}.{role}.{part}"] = tensor
            output = left.pop(f"{theirs}{name}.out_proj.{part}").float()
            out[f"{ours}{target}.output.{part}"] = output
    for name, target in _OTHERS.items():
        for part in ("weight", "bias"):
            out[f"{ours}{target}.{part}"] = left.pop(f"{theirs}{name}.{part}").float()
    return out
