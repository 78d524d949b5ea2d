"""Small seeded token sets and bundles that the tests of the contracts take apart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rs_runtime.contracts.bundle import (
    Golden,
    Manifest,
    Reconstruction,
    Role,
    TensorSpec,
    Variant,
)
from rs_runtime.contracts.image_spec import ImageSpec
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet

FINGERPRINT = "f0" * 32


@pytest.fixture
def table() -> LayerTable:
    """A generator of 8² with 3 convolutions and 2 toRGB layers."""
    return LayerTable.from_channels({4: 4, 8: 3}, w_dim=5)


@pytest.fixture
def make_token_set(table: LayerTable) -> Callable[..., TokenSet]:
    """Build an image set with every group; keyword arguments replace its fields."""

    def build(**changes: object) -> TokenSet:
        rng = np.random.default_rng(7)

        def normal(*shape: int) -> np.ndarray:
            return rng.normal(size=shape).astype(np.float32)

        full = TokenSet(
            kind="image",
            name="Zoë",
            P={layer.name: normal(2, layer.out_channels) for layer in table.convs},
            Q={layer.name: normal(2, layer.in_channels) for layer in table.convs},
            style_offset={layer.name: normal(layer.in_channels) for layer in table.layers},
            modulation={layer.name: normal(layer.in_channels) for layer in table.convs},
            w_plus=normal(table.num_ws, table.w_dim),
            source="a pencil sketch of a café",
            licence="CC0-1.0",
            fingerprint=FINGERPRINT,
            table_hash=table.hash,
        )
        return replace(full, **changes)

    return build


@pytest.fixture
def contents() -> dict[str, bytes]:
    """Files of a small two-stage bundle; graphs are opaque to the reader."""
    return {
        "graphs/preprocess.onnx": b"preprocess",
        "graphs/base_inverter.onnx": b"base",
        "graphs/refiner.onnx": b"refiner",
        "graphs/synthesis.onnx": b"synthesis",
        "domains/sketch.tokens": b"tokens",
        "golden/w_plus.npy": b"w_plus",
        "golden/image_float.npy": b"image",
    }


@pytest.fixture
def manifest(table: LayerTable) -> Manifest:
    """The manifest that goes with `contents`."""

    def role(name: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Role:
        graph = Variant(f"graphs/{name}.onnx", "onnxruntime", "fp16_stored", "dense", "dynamic")
        return Role(inputs, outputs, (graph,))

    photo = TensorSpec("image", "uint8", ("N", 8, 8, 3))
    w_plus = TensorSpec("w_plus", "float32", ("N", table.num_ws, table.w_dim))
    image_float = TensorSpec("image_float", "float32", ("N", 3, 8, 8))
    factors = tuple(
        TensorSpec(name, "float32", ("N", "L", width))
        for name, width in (("P", table.sum_out), ("Q", table.sum_in))
    )
    return Manifest(
        model="two_stage",
        layer_table=table,
        image=ImageSpec(8),
        generator_fingerprint=FINGERPRINT,
        rank=2,
        roles={
            "preprocess": role(
                "preprocess", (TensorSpec("photo", "uint8", ("H", "W", 3)),), (photo,)
            ),
            "base_inverter": role("base_inverter", (photo,), (w_plus,)),
            "refiner": role(
                "refiner", (photo, replace(image_float, name="first_inversion")), factors
            ),
            "synthesis": role("synthesis", (w_plus,), (replace(photo), image_float)),
        },
        domains={"sketch": "domains/sketch.tokens"},
        reconstruction=Reconstruction(0.01, 0.05, 500, "rendered portraits"),
        golden=(
            Golden(
                "synthesis",
                {"w_plus": "golden/w_plus.npy"},
                {"image_float": "golden/image_float.npy"},
                {"image_float": 1e-3},
            ),
        ),
        parity={"synthesis": {"image_float": {"max_abs": 2e-6}}},
        licences={"weights": "Apache-2.0"},
        record={"command": "export", "seed": 1},
        files={},
    )
