"""The encoder in a ReStyle file (Alaluf et al. 2021), over pSp or over e4e."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.importers.encoder_parts import (
    average,
    head_sizes,
    rename_trunk_and_heads,
    require_input_channels,
    require_rows,
)
from rs_train.inverters.restyle import ReStyle, ReStyleConfig

# The two write the same tensors; only the name of the class tells them apart.
_PROGRESSIVE = {"BackboneEncoder": False, "ProgressiveBackboneEncoder": True}


def encoder_from_state(
    state: Mapping[str, Tensor], facts: Mapping[str, Any], latent_avg: Tensor, num_ws: int
) -> ReStyle:
    """Build the encoder; arguments and errors as `pyramid_encoder`."""
    require_input_channels(state, 6)
    kind = facts.get("encoder_type")
    if kind not in _PROGRESSIVE:
        raise IncompatibleError(
            "the file does not say which of ReStyle's encoders it holds",
            found=str(kind),
            expected=" or ".join(_PROGRESSIVE),
        )
    config = ReStyleConfig(
        **head_sizes(state, facts),
        iterations=int(facts.get("n_iters_per_batch", 5)),
        progressive=_PROGRESSIVE[kind],
    )
    require_rows(config.num_ws, num_ws)
    encoder = ReStyle(config)
    # The first latent is the average whatever the options say: iterations start from it.
    renamed = rename_trunk_and_heads(state) | {"latent_avg": average(latent_avg, {}, num_ws)}
    encoder.load_state_dict(renamed)
    return encoder
