"""A bundle of hand-written graphs whose pictures can be worked out on paper.

base inversion     each channel of the picture becomes its mean
synthesis          channel c = w_plus[c, 0]
                   + (red) 0.01 * sum of style offsets + (green) sum of dW / 1000
                   + (blue) 0.1 * mean change of modulation
refiner            rank 2, P = 0.2 * mean of the picture's red, Q = 1
mapping            w = truncation_psi * z
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import parser

from rs_runtime.contracts.bundle import (
    Manifest,
    Reconstruction,
    Role,
    TensorSpec,
    Variant,
    write_bundle,
)
from rs_runtime.contracts.image_spec import ImageSpec
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet, encode_token_set

TABLE = LayerTable.from_channels({4: 4, 8: 3}, w_dim=2)
SIZE = 8
FINGERPRINT = "5" * 64
RANK = 2
_PER_SAMPLE = ("image", "w_plus")
_HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
# What the words in capitals stand for: a synthesis's inputs, its constants, the colour that it
# makes of its inputs, and its last lines.
_WORDS = {
    "INPUTS": """float[N, 4, 2] w_plus, float[N, L, 10] P, float[N, L, 11] Q,
        float[N, 18] style_offset, float[N, 11] modulation""",
    "CONSTANTS": """float[1] half_range = {127.5}, float[1] one_f = {1.0}, float zero_f = {0.0},
 float top = {255.0}, float[1] tenth = {0.1}, float[1] hundredth = {0.01},
 float[1] thousandth = {0.001}""",
    "COLOUR": """
    first = Constant<value_ints = [0]>()
    three = Constant<value_ints = [3]>()
    one = Constant<value_ints = [1]>()
    two = Constant<value_ints = [2]>()
    rows = Slice(w_plus, first, three, one)
    column = Slice(rows, first, one, two)
    colour = Squeeze(column, two)
    p = ReduceSum<keepdims = 0>(P, two)
    q = ReduceSum<keepdims = 0>(Q, two)
    pq = Mul(p, q)
    residual = ReduceSum<keepdims = 1>(pq, one)
    green = Mul(residual, thousandth)
    offsets = ReduceSum<keepdims = 1>(style_offset, one)
    red = Mul(offsets, hundredth)
    mean = ReduceMean<keepdims = 1>(modulation, one)
    change = Sub(mean, one_f)
    blue = Mul(change, tenth)
    tint = Concat<axis = 1>(red, green, blue)
    tinted = Add(colour, tint)""",
    "TO_UINT8": """
    shifted = Add(image_float, one_f)
    levels = Mul(shifted, half_range)
    clipped = Clip(levels, zero_f, top)
    rounded = Round(clipped)
    moved = Transpose<perm = [0, 2, 3, 1]>(rounded)
    image = Cast<to = 2>(moved)""",
}
TEXTS = {
    "preprocess": """
preprocess (uint8[H, W, 3] photo) => (uint8[1, 8, 8, 3] image) {
    x = Cast<to = 1>(photo)
    sizes = Constant<value_ints = [8, 8]>()
    small = Resize<mode = "nearest", axes = [0, 1], nearest_mode = "floor",
        coordinate_transformation_mode = "asymmetric">(x, , , sizes)
    bytes = Cast<to = 2>(small)
    zero = Constant<value_ints = [0]>()
    image = Unsqueeze(bytes, zero)
}""",
    "base_inverter": """
base_inverter (uint8[1, 8, 8, 3] image) => (float[1, 4, 2] w_plus)
<float[1] half_range = {127.5}, float[1] one_f = {1.0}>
{
    x = Cast<to = 1>(image)
    scaled = Div(x, half_range)
    unit = Sub(scaled, one_f)
    pixels = Constant<value_ints = [1, 2]>()
    mean = ReduceMean<keepdims = 0>(unit, pixels)
    last = Constant<value_ints = [2]>()
    rows = Unsqueeze(mean, last)
    pads = Constant<value_ints = [0, 0, 0, 0, 1, 1]>()
    w_plus = Pad(rows, pads)
}""",
    "refiner": """
refiner (uint8[N, 8, 8, 3] image, float[N, 3, 8, 8] first_inversion)
    => (float[N, 2, 10] P, float[N, 2, 11] Q)
<float[1] half_range = {127.5}, float[1] one_f = {1.0}, float[1] step = {0.2}>
{
    x = Cast<to = 1>(image)
    scaled = Div(x, half_range)
    unit = Sub(scaled, one_f)
    pixels = Constant<value_ints = [1, 2]>()
    mean = ReduceMean<keepdims = 1>(unit, pixels)
    last = Constant<value_ints = [3]>()
    start = Constant<value_ints = [0]>()
    end = Constant<value_ints = [1]>()
    red = Slice(mean, start, end, last)
    axis = Constant<value_ints = [3]>()
    flat = Squeeze(red, axis)
    small = Mul(flat, step)
    p_shape = Constant<value_ints = [1, 2, 10]>()
    P = Expand(small, p_shape)
    none = Sub(flat, flat)
    all = Add(none, one_f)
    q_shape = Constant<value_ints = [1, 2, 11]>()
    Q = Expand(all, q_shape)
}""",
    "synthesis": """
synthesis (INPUTS)
    => (uint8[N, 8, 8, 3] image, float[N, 3, 8, 8] image_float)
<CONSTANTS>
{
COLOUR
    maps = Constant<value_ints = [2, 3]>()
    pixel = Unsqueeze(tinted, maps)
    shape = Constant<value_ints = [1, 3, 8, 8]>()
    image_float = Expand(pixel, shape)
TO_UINT8
}""",
    "mapping": """
mapping (float[N, 2] z, float truncation_psi) => (float[N, 2] w) {
    w = Mul(z, truncation_psi)
}""",
}


def domain_set(name: str, **changes) -> TokenSet:
    """A domain of rank 1 ("sketch") or of offsets and modulation alone ("oil"), sums known."""
    sketch = name == "sketch"
    fields = {
        "kind": "domain",
        "name": name,
        "P": {c.name: np.full((1, c.out_channels), 1.0) for c in TABLE.convs if sketch},
        "Q": {c.name: np.full((1, c.in_channels), 2.0) for c in TABLE.convs if sketch},
        "style_offset": {c.name: np.full(c.in_channels, 0.5) for c in TABLE.layers if not sketch},
        "modulation": {c.name: np.full(c.in_channels, 3.0) for c in TABLE.convs if not sketch},
        "w_plus": None,
        "source": f"a {name} of a person",
        "licence": "CC0-1.0",
        "fingerprint": FINGERPRINT,
        "table_hash": TABLE.hash,
    }
    return TokenSet(**fields | changes)


# What each domain at strength 1 adds to the (red, green, blue) of image_float.
TINTS = {
    "sketch": np.array([0.0, 10 * 22 / 1000, 0.0]),
    "oil": np.array([0.01 * 18 * 0.5, 0.0, 0.1 * 2]),
}


def own_tint(red_mean: float) -> np.ndarray:
    """What the refiner's tokens add for a picture whose red has this mean in [-1, 1]."""
    return np.array([0.0, RANK * (10 * 0.2 * red_mean) * 11 / 1000, 0.0])


def graph(text: str) -> bytes:
    """The bytes of one role's ONNX file."""
    for word, meaning in _WORDS.items():
        text = text.replace(word, meaning)
    model = parser.parse_model(_HEAD + text)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def manifest_and_contents(
    model: str = "two_stage", texts: Mapping[str, str] = TEXTS
) -> tuple[Manifest, dict[str, bytes]]:
    """Everything that ``write_bundle`` needs, for graphs of these texts by role."""
    contents = {f"{role}.onnx": graph(text) for role, text in texts.items()}
    contents |= {f"domains/{n}.tokens": encode_token_set(domain_set(n)) for n in TINTS}
    roles = {
        role: Role(
            inputs=_specs(onnx.load_from_string(contents[f"{role}.onnx"]).graph.input),
            outputs=_specs(onnx.load_from_string(contents[f"{role}.onnx"]).graph.output),
            variants=(
                Variant(
                    file=f"{role}.onnx",
                    engine="onnxruntime",
                    precision="fp32",
                    form="plain",
                    batch=1 if role == "base_inverter" else "dynamic",
                ),
            ),
        )
        for role in texts
    }
    manifest = Manifest(
        model=model,
        layer_table=TABLE,
        image=ImageSpec(SIZE),
        generator_fingerprint=FINGERPRINT,
        rank=RANK,
        roles=roles,
        domains={name: f"domains/{name}.tokens" for name in TINTS},
        reconstruction=Reconstruction(0.001, 0.05, 10, "flat colours"),
        golden=(),
        parity={
            "synthesis": {
                "fp32": {
                    "image": {"max_abs": 0.0, "psnr_db": None},
                    "image_float": {"max_abs": 1e-5, "psnr_db": 101.2},
                }
            },
            "preprocess": {"fp32": {"image": {"max_abs": 0.0, "psnr_db": None}}},
            "remark": "a manifest may hold facts of any shape here",
        },
        licences={"weights": "CC0-1.0"},
        record={"command": "tests"},
        files={},
    )
    return manifest, contents


def build(folder: Path, **changes) -> Path:
    """Writes the bundle; ``changes`` replace fields of its manifest."""
    manifest, contents = manifest_and_contents()
    write_bundle(folder, replace(manifest, **changes), contents)
    return folder


def _specs(values) -> tuple[TensorSpec, ...]:
    names = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}
    return tuple(
        TensorSpec(
            value.name,
            names[value.type.tensor_type.elem_type],
            tuple(
                # Variants may fix the batch (the base inverter does); the role itself does not.
                side.dim_param or ("N" if n == 0 and value.name in _PER_SAMPLE else side.dim_value)
                for n, side in enumerate(value.type.tensor_type.shape.dim)
            ),
        )
        for value in values
    )
