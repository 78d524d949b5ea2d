"""How the host strings the roles together, for any way of running a role."""

from collections.abc import Callable, Collection

import numpy as np

from rs_export.graphs.role import Arrays
from rs_export.graphs.synthesis import neutral_inputs
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.roles import INVERTERS

# Runs a role: its name and inputs by name, outputs by name.
Run = Callable[[str, Arrays], Arrays]
# The inputs of a synthesis that domains change.
TOKENS = ("P", "Q", "style_offset", "modulation")


def neutral(table: LayerTable, w_plus: np.ndarray) -> Arrays:
    """Synthesis inputs of plain StyleGAN2 for w_plus [N, num_ws, w_dim]."""
    inputs = neutral_inputs(table, len(w_plus), rank=1)
    return {name: value.numpy() for name, value in inputs.items()} | {"w_plus": w_plus}


def inverter_of(roles: Collection[str]) -> str | None:
    """The role that reads the picture first; None for a model that cannot invert."""
    return next((name for name in INVERTERS if name in roles), None)


def split_inputs(
    run: Run, table: LayerTable, inputs: Arrays, feature: np.ndarray
) -> dict[str, Arrays]:
    """What the roles of a split synthesis are given, by role.

    Args:
        run: Runs a role.
        table: The generator's layers.
        inputs: Inputs of the whole synthesis, in a domain or none.
        feature: Feature maps of the pictures in no domain, [N, C, h, w].
    """
    plain = neutral(table, inputs["w_plus"])
    lower = run("synthesis_lower", inputs)
    shift = {
        "feature": feature,
        "lower_source": run("synthesis_lower", plain)["feature"],
        "lower_domain": lower["feature"],
    }
    shifted = run("feature_shift", shift)["shifted"]
    upper = {"feature": shifted, "rgb": lower["rgb"], **inputs}
    return {"synthesis_lower": inputs, "feature_shift": shift, "synthesis_upper": upper}


def invert(
    run: Run, roles: Collection[str], table: LayerTable, image: np.ndarray, domain: Arrays
) -> Arrays:
    """Invert images as the runtime does: inverter, synthesis and, if any, refiner, synthesis.

    A model that keeps a feature map moves it to a domain, through both parts of its synthesis.

    Args:
        run: Runs a role.
        roles: Roles that there are.
        table: The generator's layers.
        image: uint8 [N, S, S, 3], preprocessed.
        domain: Tokens of N samples: P, Q, style_offset, modulation.

    Returns:
        The last synthesis's outputs.
    """
    found = run(inverter_of(roles), {"image": image})
    if "feature" in found:
        given = split_inputs(run, table, {"w_plus": found["w_plus"], **domain}, found["feature"])
        return run("synthesis_upper", given["synthesis_upper"])
    inputs = neutral(table, found["w_plus"]) | found
    outputs = run("synthesis", inputs)
    if "refiner" in roles:
        first = {"image": image, "first_inversion": outputs["image_float"]}
        outputs = run("synthesis", inputs | run("refiner", first))
    return outputs
