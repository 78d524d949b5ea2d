"""How the host strings the roles together, for any way of running a role."""

from collections.abc import Callable, Collection

import numpy as np

from rs_export.graphs.role import Arrays
from rs_export.graphs.synthesis import neutral_inputs
from rs_runtime.contracts.layers import LayerTable

# Runs a role: its name and inputs by name, outputs by name.
Run = Callable[[str, Arrays], Arrays]


def neutral(table: LayerTable, w_plus: np.ndarray) -> Arrays:
    """Synthesis inputs of plain StyleGAN2 for w_plus [N, num_ws, w_dim]."""
    inputs = neutral_inputs(table, len(w_plus), rank=1)
    return {name: value.numpy() for name, value in inputs.items()} | {"w_plus": w_plus}


def inverter_of(roles: Collection[str]) -> str | None:
    """The role that reads the picture first; None for a model that cannot invert."""
    return next((name for name in ("inverter", "base_inverter") if name in roles), None)


def invert(run: Run, roles: Collection[str], table: LayerTable, image: np.ndarray) -> Arrays:
    """Invert images as the runtime does: inverter, synthesis and, if any, refiner, synthesis.

    Args:
        run: Runs a role.
        roles: Roles that there are.
        table: The generator's layers.
        image: uint8 [N, S, S, 3], preprocessed.

    Returns:
        The last synthesis's outputs.
    """
    found = run(inverter_of(roles), {"image": image})
    inputs = neutral(table, found["w_plus"]) | found
    outputs = run("synthesis", inputs)
    if "refiner" in roles:
        first = {"image": image, "first_inversion": outputs["image_float"]}
        outputs = run("synthesis", inputs | run("refiner", first))
    return outputs
