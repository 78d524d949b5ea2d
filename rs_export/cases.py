"""The fixed, seeded inputs on which graphs are compared with PyTorch and that bundles carry.

They follow the runtime's own flow, so that each network sees what it will see: heads that the
generator makes, their first inversions, their tokens. Each role's first case has a batch of one.
"""

import math

import numpy as np
from PIL import Image

from rs_export.flow import inverter_of, neutral, split_inputs
from rs_export.graphs.role import Arrays, RoleGraph
from rs_runtime.contracts.layers import LayerTable
from rs_train.generator import Generator

SEED = 2410
BATCH = 2
PSI = 0.7


def fixed_cases(roles: dict[str, RoleGraph], generator: Generator) -> dict[str, list[Arrays]]:
    """Inputs by role.

    Args:
        roles: The roles of one model by name; "synthesis" and "mapping" are among them.
        generator: Gives the sizes.

    Returns:
        A list of cases by role, arrays by input name.
    """
    rng = np.random.default_rng(SEED)
    table = generator.table
    z = rng.standard_normal((BATCH, generator.config.z_dim), np.float32)
    mapping = {"z": z, "truncation_psi": np.array(PSI, np.float32)}
    w = roles["mapping"].reference(mapping)["w"]
    w_plus = np.repeat(w[:, None], generator.num_ws, axis=1)
    plain = neutral(table, w_plus)
    cases = {
        "mapping": [_first(mapping, ("truncation_psi",)), mapping],
        "synthesis": [plain, _random_tokens(table, w_plus, rng)],
    }
    if "preprocess" in roles:
        heads = roles["synthesis"].reference(plain)["image"]
        size = roles["preprocess"].size
        noise = rng.integers(0, 256, (2 * size + 33, 3 * size + 6, 3), np.uint8)
        small = rng.integers(0, 256, (size // 2 + 1, size, 3), np.uint8)
        cases["preprocess"] = [_photo(heads[0]), noise, small]
        cases["preprocess"] = [{"photo": photo} for photo in cases["preprocess"]]
        images = [roles["preprocess"].reference({"photo": head})["image"] for head in heads]
        inverter = {"image": np.concatenate(images)}
        name = inverter_of(roles)
        cases[name] = [_first(inverter), inverter]
        found = roles[name].reference(inverter)
        feature = found.pop("feature", None)
        first = neutral(table, found["w_plus"]) | found
        cases["synthesis"].insert(1, first)
        if feature is not None:
            cases |= _split_cases(roles, table, [first, cases["synthesis"][-1]], feature)
    if "landmarks" in roles:
        photos = [_photo(heads[0]), np.concatenate([np.zeros_like(heads[0]), heads[1]])]
        cases["landmarks"] = [{"photo": photo} for photo in photos]
    if "text" in roles:
        cases |= _prompt_cases(roles, inverter["image"])
    if "refiner" in roles:
        refiner = {
            "image": inverter["image"],
            "first_inversion": roles["synthesis"].reference(first)["image_float"],
        }
        cases["refiner"] = [_first(refiner), refiner]
        cases["synthesis"].insert(1, first | roles["refiner"].reference(refiner))
    cases["synthesis"].insert(0, _first(cases["synthesis"][-1]))
    return cases


def _split_cases(
    roles: dict[str, RoleGraph], table: LayerTable, inputs: list[Arrays], feature: np.ndarray
) -> dict[str, list[Arrays]]:
    """Cases of the roles of a split synthesis, for some inputs of the whole."""
    given = [
        split_inputs(lambda name, own: roles[name].reference(own), table, own, feature)
        for own in inputs
    ]
    return {
        name: [_first(given[-1][name]), *(own[name] for own in given)]
        for name in ("synthesis_lower", "feature_shift", "synthesis_upper")
    }


def _prompt_cases(roles: dict[str, RoleGraph], image: np.ndarray) -> dict[str, list[Arrays]]:
    """Cases of the roles that make domains of texts and pictures."""
    tokens = {name: value.numpy() for name, value in roles["text"].example.items()}
    given = {"text": tokens, "vision": {"image": image}}
    found = [roles[name].reference(inputs)["embedding"] for name, inputs in given.items()]
    given["hypernetwork"] = {"embedding": np.concatenate(found)}
    return {name: [_first(inputs), inputs] for name, inputs in given.items()}


def _random_tokens(table: LayerTable, w_plus: np.ndarray, rng: np.random.Generator) -> Arrays:
    """Every sample with its own w_plus rows, residual, style offsets and modulation."""
    batch, rank = len(w_plus), 3

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((batch, *shape), np.float32)

    # A residual about as large as half the kernel, whose gain is 1 / sqrt(9 Cin).
    scale = math.sqrt(0.5 / math.sqrt(9 * table.sum_in / len(table.convs)) / math.sqrt(rank))
    return {
        "w_plus": w_plus + 0.1 * normal(table.num_ws, table.w_dim),
        "P": scale * normal(rank, table.sum_out),
        "Q": scale * normal(rank, table.sum_in),
        "style_offset": 0.2 * normal(table.style_channels_with_torgb),
        "modulation": 1 + 0.2 * normal(table.sum_in),
    }


def _photo(head: np.ndarray) -> np.ndarray:
    """A head as a landscape picture of another size, so that preprocessing has work to do."""
    side = head.shape[0] * 3 // 2
    wide = np.pad(head, ((0, 0), (head.shape[0] // 4,) * 2, (0, 0)), "edge")
    resized = Image.fromarray(wide).resize((side * 3 // 2, side), Image.Resampling.BILINEAR)
    return np.array(resized)  # writable, as PyTorch wants it


def _first(inputs: Arrays, shared: tuple[str, ...] = ()) -> Arrays:
    return {name: value if name in shared else value[:1] for name, value in inputs.items()}
