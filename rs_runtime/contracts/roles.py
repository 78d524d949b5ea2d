"""The roles of a bundle: jobs of the pipeline, what each takes and gives, and the graphs for it.

Which roles a bundle must have follows from its kind of model. They are a part of its manifest, and
read as strictly: unknown fields, missing fields and wrong types are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rs_runtime.contracts.errors import MalformedFileError
from rs_runtime.contracts.fields import (
    check_identifier,
    check_integer,
    check_list,
    check_object,
    check_path,
)

MODEL_ROLES: Mapping[str, tuple[str, ...]] = {
    "generator": ("synthesis",),
    "base": ("preprocess", "base_inverter", "synthesis"),
    "one_stage": ("preprocess", "inverter", "synthesis"),
    "two_stage": ("preprocess", "base_inverter", "refiner", "synthesis"),
    "feature_shift": (
        "preprocess",
        "feature_encoder",
        "synthesis_lower",
        "feature_shift",
        "synthesis_upper",
        "synthesis",
    ),
}
"""Roles that a bundle of each model kind must have; it may have more."""

FEATURE_ENCODER = "feature_encoder"
INVERTERS = ("inverter", "base_inverter", FEATURE_ENCODER)
"""Roles of which one reads the picture first."""

DTYPES = ("uint8", "int64", "float16", "float32")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a role.

    Attributes:
        name: Its name in every variant's graph.
        dtype: `"uint8"`, `"int64"`, `"float16"` or `"float32"`.
        shape: Sides; a string names a side that is known only at run time: `("N", 3, 256, 256)`.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Variant:
    """One graph that does a role's job.

    Attributes:
        file: Its path in the bundle.
        engine: What runs it: `"onnxruntime"`, `"openvino"`, `"tensorrt"`, or `"native"`, our own,
            which takes the constants of a synthesis by their names.
        precision: `"fp32"`, `"fp16_stored"`, `"fp16"`, `"bf16"` (computed in it), ….
        form: How refined layers are computed: `"dense"`, `"low_rank"`, `"materialised"`, `"cpu"`
            for the best of these layer by layer, `"winograd"` for the native engine's own, or
            `"plain"` for a graph without any.
        batch: `"dynamic"` or the one batch size it takes.
    """

    file: str
    engine: str
    precision: str
    form: str
    batch: int | str


@dataclass(frozen=True)
class Role:
    """One job of the pipeline and the graphs that can do it, the preferred one first.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        variants: At least one.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...]


def read_role(value: Any, where: str) -> Role:
    """Read a role out of JSON; MalformedFileError for anything else."""
    check_object(value, where, ("inputs", "outputs", "variants"))
    return Role(
        inputs=read_tensor_specs(value["inputs"], f"{where}.inputs"),
        outputs=read_tensor_specs(value["outputs"], f"{where}.outputs"),
        variants=tuple(
            _variant(variant, f"{where}.variants[{i}]")
            for i, variant in enumerate(check_list(value["variants"], f"{where}.variants", least=1))
        ),
    )


def read_tensor_specs(value: Any, where: str) -> tuple[TensorSpec, ...]:
    """Read inputs or outputs out of JSON; MalformedFileError for anything else."""
    specs = []
    for i, item in enumerate(check_list(value, where, least=1)):
        at = f"{where}[{i}]"
        check_object(item, at, ("name", "dtype", "shape"))
        if item["dtype"] not in DTYPES:
            raise MalformedFileError(
                f"{at}.dtype", found=repr(item["dtype"])[:40], expected=", ".join(DTYPES)
            )
        shape = tuple(
            check_identifier(side, f"{at}.shape")
            if isinstance(side, str)
            else check_integer(side, f"{at}.shape", 1, 1 << 31)
            for side in check_list(item["shape"], f"{at}.shape")
        )
        specs.append(TensorSpec(check_identifier(item["name"], f"{at}.name"), item["dtype"], shape))
    if len({spec.name for spec in specs}) != len(specs):
        raise MalformedFileError(f"{where}: a name twice")
    return tuple(specs)


def _variant(value: Any, where: str) -> Variant:
    check_object(value, where, ("file", "engine", "precision", "form", "batch"))
    batch = value["batch"]
    if batch != "dynamic":
        check_integer(batch, f"{where}.batch", 1, 1 << 16)
    return Variant(
        file=check_path(value["file"], f"{where}.file"),
        engine=check_identifier(value["engine"], f"{where}.engine"),
        precision=check_identifier(value["precision"], f"{where}.precision"),
        form=check_identifier(value["form"], f"{where}.form"),
        batch=batch,
    )
