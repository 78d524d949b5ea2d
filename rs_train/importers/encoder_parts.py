"""What the encoders of pSp, e4e, ReStyle and Style Transformer share: trunk, laterals, heads."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.inverters.e4e import E4E
from rs_train.inverters.psp import PSP
from rs_train.inverters.style_head import StyleHeadsConfig
from rs_train.inverters.trunk import UNITS_PER_STAGE, Channels

_Encoder = TypeVar("_Encoder", PSP, E4E)

# Their names of the tensors -> this project's, first match first.
_TRUNK = (
    (r"body\.(\d+)\.res_layer\.5\.fc1\.(.*)", r"body.\1.residual.5.reduce.\2"),
    (r"body\.(\d+)\.res_layer\.5\.fc2\.(.*)", r"body.\1.residual.5.expand.\2"),
    (r"body\.(\d+)\.res_layer\.(.*)", r"body.\1.residual.\2"),
    (r"body\.(\d+)\.shortcut_layer\.(.*)", r"body.\1.projection.\2"),
    (r"input_layer\.(.*)", r"input_layer.\1"),
)
_LATERALS = (
    (r"latlayer1\.(.*)", r"lateral_medium.\1"),
    (r"latlayer2\.(.*)", r"lateral_fine.\1"),
)
_HEADS = ((r"styles\.(.*)", r"heads.\1"),)
# Cars are read as the 192 middle rows of a square of 256 (Stanford Cars in all four projects).
_CARS_HEIGHT = 192


def pyramid_encoder(
    encoder_class: type[_Encoder],
    state: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    latent_avg: Tensor,
    num_ws: int,
) -> _Encoder:
    """Build an encoder with pSp's tensors.

    Args:
        encoder_class: What reads them: PSP or E4E.
        state: Tensors of `encoder.*` without the prefix.
        facts: The training's options.
        latent_avg: [w_dim] or [num_ws, w_dim].
        num_ws: Rows that the generator reads.

    Raises:
        IncompatibleError: An encoder of another kind.
        KeyError, RuntimeError, ValueError: Tensors that do not form one.
    """
    require_input_channels(state, 3)
    config = StyleHeadsConfig(**head_sizes(state, facts))
    require_rows(config.num_ws, num_ws)
    encoder = encoder_class(config)
    encoder.load_state_dict(
        rename_pyramid(state) | {"latent_avg": average(latent_avg, facts, num_ws)}
    )
    return encoder


def rename_pyramid(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Trunk, laterals and heads of pSp's encoder under this project's names.

    Raises:
        ValueError: A tensor that belongs to none of them.
    """
    trunk = tuple((theirs, "pyramid.trunk." + ours) for theirs, ours in _TRUNK)
    laterals = tuple((theirs, "pyramid." + ours) for theirs, ours in _LATERALS)
    return rename(state, (*trunk, *laterals, *_HEADS))


def rename_trunk_and_heads(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same for an encoder without a pyramid."""
    return rename(state, (*((theirs, "trunk." + ours) for theirs, ours in _TRUNK), *_HEADS))


def rename(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """Rename every tensor by the first rule that fits.

    Raises:
        ValueError: None fits.
    """
    out = {}
    for key, tensor in state.items():
        for theirs, ours in rules:
            if re.fullmatch(theirs, key):
                out[re.sub(theirs, ours, key)] = tensor.float()
                break
        else:
            raise ValueError(f"unknown tensor encoder.{key}")
    return out


def trunk_channels(state: Mapping[str, Tensor]) -> Channels:
    """Widths of the four stages, read off their first units."""
    firsts = [sum(UNITS_PER_STAGE[:stage]) for stage in range(len(UNITS_PER_STAGE))]
    return tuple(len(state[f"body.{unit}.res_layer.3.weight"]) for unit in firsts)


def head_sizes(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a StyleHeadsConfig, read off the tensors."""
    convs = sum(bool(re.fullmatch(r"styles\.0\.convs\.\d+\.weight", key)) for key in state)
    return {
        "image_size": 16 << convs,
        "image_height": image_height(facts),
        "num_ws": len({key.split(".")[1] for key in state if key.startswith("styles.")}),
        "w_dim": len(state["styles.0.linear.weight"]),
        "channels": trunk_channels(state),
    }


def image_height(facts: Mapping[str, Any]) -> int | None:
    """Rows of the square that the encoder was trained on."""
    return _CARS_HEIGHT if "cars" in str(facts.get("dataset_type", "")) else None


def average(latent_avg: Tensor, facts: Mapping[str, Any], num_ws: int) -> Tensor:
    """What the encoder's output is added to, [num_ws, w_dim].

    Args:
        latent_avg: [w_dim] or [num_ws, w_dim].
        facts: The training's options; they may say that nothing is added.
        num_ws: Rows of w_plus.
    """
    if facts.get("start_from_latent_avg", True) is False:
        return torch.zeros(num_ws, latent_avg.shape[-1])
    return latent_avg.float().expand(num_ws, -1)


def require_rows(found: int, expected: int) -> None:
    """Refuse an encoder whose rows are not those of its generator."""
    if found != expected:
        raise IncompatibleError(
            "the encoder writes other rows than its generator reads",
            found=f"{found} rows",
            expected=str(expected),
        )


def require_input_channels(state: Mapping[str, Tensor], expected: int) -> None:
    """Refuse an encoder of sketches, labels or anything but pictures, or with another trunk."""
    stem = state.get("input_layer.0.weight")
    found = "another backbone" if stem is None else f"{stem.shape[1]} input channels"
    if stem is None or stem.shape[1] != expected:
        raise IncompatibleError(
            "the encoder is of another kind",
            found=found,
            expected=f"an IR-SE50 with {expected} input channels",
        )
