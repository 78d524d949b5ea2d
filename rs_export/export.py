"""From loaded networks to checked graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from rs_export import forms
from rs_export.cases import fixed_cases
from rs_export.compare import FP16_STORED, FP32, Tolerance
from rs_export.graphs.base_inverter import base_inverter_role
from rs_export.graphs.mapping import mapping_role
from rs_export.graphs.preprocess import PreprocessRole
from rs_export.graphs.refiner import refiner_role
from rs_export.graphs.role import Arrays, RoleGraph
from rs_export.graphs.synthesis import synthesis_role
from rs_export.parity import (
    LayerValues,
    Numbers,
    check_flow,
    check_layers,
    check_role,
    layer_values,
)
from rs_export.portable import finish
from rs_export.precision import has_large_constants, store_fp16
from rs_export.sources import Parts

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """A role's file with its proof.

    Attributes:
        model: The file, flat ONNX.
        precision: "fp32" or "fp16_stored".
        form: Form of the refined convolutions, "plain" without any.
        parity: What was measured, as JSON values, by precision.
        golden: One input and the reference's output.
    """

    model: onnx.ModelProto
    precision: str
    form: str
    parity: dict[str, Any]
    golden: tuple[Arrays, Arrays]


@dataclass(frozen=True)
class ExportedModel:
    """All roles of a model, proven one by one and together.

    Attributes:
        roles: By name.
        flow: Differences of a whole inversion, by precision; empty for a model without inverter.
    """

    roles: dict[str, Exported]
    flow: dict[str, Any]


def role_graphs(parts: Parts) -> dict[str, RoleGraph]:
    """The roles that the parts of a model play, by name."""
    roles: list[RoleGraph] = [mapping_role(parts.generator), synthesis_role(parts.generator)]
    base = parts.others.get("base_inverter")
    if base is not None:
        roles += [PreprocessRole(base.config.image_size), base_inverter_role(base)]
    refiner = parts.others.get("refiner")
    if refiner is not None:
        roles.append(refiner_role(refiner, parts.generator.table.resolution))
    return {role.name: role for role in roles}


def export_model(parts: Parts, *, fp16: bool, progress: Progress) -> ExportedModel:
    """Export every role of a model and prove it by value.

    Args:
        parts: The networks.
        fp16: Store weights in half precision.
        progress: Is told what happens, a line at a time.

    Raises:
        NumericsError: A graph differs from PyTorch or from the oracle beyond the tolerance.
        InternalError: A graph is not portable.
    """
    with _one_thread():
        roles = role_graphs(parts)
        cases = fixed_cases(roles, parts.generator)
        exported = {
            name: _export_role(role, cases[name], fp16, progress) for name, role in roles.items()
        }
        if "base_inverter" not in roles:
            return ExportedModel(exported, {})
        graphs = {name: role.model.SerializeToString() for name, role in exported.items()}
        image = cases["base_inverter"][-1]["image"]
        tolerance = FP16_STORED if fp16 else FP32
        measured = check_flow(roles, graphs, parts.generator.table, image, tolerance)
        progress(f"whole inversion: {_summary(measured)}")
        return ExportedModel(exported, {"fp16_stored" if fp16 else "fp32": measured})


def _export_role(role: RoleGraph, cases: list[Arrays], fp16: bool, progress: Progress) -> Exported:
    progress(f"{role.name}: tracing")
    intermediate = role.intermediate()
    refined = len(forms.refined_convs(intermediate))
    flat = forms.expand(intermediate)
    model, precision = finish(flat, role.name), "fp32"
    layers = layer_values(role, cases[-1]) if refined else None
    measured = {precision: _check(role, model, cases, FP32, layers)}
    if fp16 and has_large_constants(flat):
        model, precision = finish(store_fp16(flat), role.name), "fp16_stored"
        measured[precision] = _check(role, model, cases, FP16_STORED, layers)
    nodes = f"{refined} refined convolutions, " if refined else ""
    summary = _summary(measured[precision]["outputs"])
    progress(f"{role.name}: {nodes}{model.ByteSize() / 1e6:.2f} MB, {summary}")
    form = "dense" if refined else "plain"
    return Exported(model, precision, form, measured, (cases[0], role.reference(cases[0])))


def _check(
    role: RoleGraph,
    model: onnx.ModelProto,
    cases: list[Arrays],
    tolerance: Tolerance,
    layers: LayerValues | None,
) -> dict[str, Any]:
    data = model.SerializeToString()
    measured: dict[str, Any] = {"outputs": check_role(role, data, cases, tolerance)}
    if layers is not None:
        measured["layers"] = check_layers(data, layers, tolerance)
    return measured


def _summary(outputs: Numbers) -> str:
    """Differences in a line: decibels where something differs."""
    parts = [
        f"{name} {values['max_abs']:.1e}"
        + ("" if values["psnr_db"] is None else f" ({values['psnr_db']:.0f} dB)")
        for name, values in outputs.items()
    ]
    return "largest difference " + ", ".join(parts)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that the same input gives the same bytes twice."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
