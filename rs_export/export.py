"""From loaded networks to checked graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import torch

from rs_export import forms
from rs_export.cases import fixed_cases
from rs_export.compare import BF16, FP16_STORED, FP32, TOLERANCES, Tolerance
from rs_export.cpu_graph import for_cpus
from rs_export.flow import TOKENS, inverter_of
from rs_export.graphs.base_inverter import base_inverter_role
from rs_export.graphs.feature_encoder import feature_encoder_role
from rs_export.graphs.feature_shift import feature_shift_role
from rs_export.graphs.inverter import inverter_role
from rs_export.graphs.landmarks import landmarks_role
from rs_export.graphs.mapping import mapping_role
from rs_export.graphs.preprocess import PreprocessRole
from rs_export.graphs.refiner import refiner_role
from rs_export.graphs.role import Arrays, RoleGraph
from rs_export.graphs.synthesis import synthesis_role
from rs_export.graphs.synthesis_lower import synthesis_lower_role
from rs_export.graphs.synthesis_upper import synthesis_upper_role
from rs_export.half import compute_in_half, map_nodes
from rs_export.parity import (
    Case,
    LayerValues,
    Numbers,
    RunGraph,
    cases_of,
    check_flow,
    check_layers,
    check_parts,
    check_role,
    layer_values,
    opened,
)
from rs_export.plugin_bodies import DOMAIN, FORM
from rs_export.portable import finish
from rs_export.precision import has_large_constants, store_fp16
from rs_export.prompt_part import prompt_roles
from rs_export.ranges import Ranges, measure, range_cases
from rs_export.sources import Parts
from rs_export.tensorrt_graph import plugin_graph
from rs_export.variants import (
    GraphFile,
    Progress,
    chosen,
    label,
    proven_variants,
    role_of,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.roles import Role
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.roles import HOST_ROLES, choose_variant

Target = Literal["cpu", "gpu", "all"]
# A feature map is moved by a difference of two others: in bf16 much of it would be rounding.
_NOT_IN_BF16 = ("feature_encoder", "synthesis_lower", "feature_shift", "synthesis_upper")


@dataclass(frozen=True)
class Exported:
    """A role's files with their proofs.

    Attributes:
        role: Its entry in the manifest.
        models: Flat ONNX by path in the bundle.
        parity: What was measured, as JSON values: "fp32", "fp16_stored" and, of the synthesis,
            "cpu form" by output and layer before engines come in; then each variant by output; and
            "fp16 ranges" where a graph computes in fp16.
        golden: One of the cases that it was compared on.
    """

    role: Role
    models: dict[str, onnx.ModelProto]
    parity: dict[str, Any]
    golden: Case


@dataclass(frozen=True)
class _Order:
    """What the user asked for; see `export_model`."""

    fp16: bool
    target: Target
    rank: int
    samples: Callable[[str], Iterator[Arrays]]
    progress: Progress


@dataclass(frozen=True)
class ExportedModel:
    """All roles of a model, proven one by one and together.

    Attributes:
        roles: By name.
        flow: Differences of a whole inversion, by provider; empty for a model without inverter.
        split: Differences of both parts of the synthesis from the whole, by provider; empty for a
            model that does not split it.
    """

    roles: dict[str, Exported]
    flow: dict[str, Any]
    split: dict[str, Any]


def role_graphs(parts: Parts) -> dict[str, RoleGraph]:
    """The roles that the parts of a model play, by name."""
    roles: list[RoleGraph] = [mapping_role(parts.generator), synthesis_role(parts.generator)]
    inverter = parts.others.get("inverter")
    if inverter is not None:
        roles += [PreprocessRole(inverter.config.image_size), inverter_role(inverter)]
    base = parts.others.get("base_inverter")
    if base is not None:
        roles += [PreprocessRole(base.config.image_size), base_inverter_role(base)]
    refiner = parts.others.get("refiner")
    if refiner is not None:
        roles.append(refiner_role(refiner, parts.generator.table.resolution))
    encoder = parts.others.get("feature_encoder")
    if encoder is not None:
        roles += [PreprocessRole(encoder.config.image_size), feature_encoder_role(encoder)]
    shift = parts.others.get("feature_shift")
    if shift is not None:
        split = shift.config.layer
        roles += [
            synthesis_lower_role(parts.generator, split),
            feature_shift_role(shift, parts.generator.table.convs[split]),
            synthesis_upper_role(parts.generator, split),
        ]
    landmarks = parts.others.get("landmarks")
    if landmarks is not None:
        roles.append(landmarks_role(landmarks))
    if parts.prompt is not None:
        size = next(role.size for role in roles if isinstance(role, PreprocessRole))
        roles += prompt_roles(parts.prompt, size)
    return {role.name: role for role in roles}


def export_model(
    parts: Parts, *, fp16: bool, progress: Progress, target: Target = "cpu"
) -> ExportedModel:
    """Export every role of a model and prove it by value.

    Args:
        parts: The networks and domains.
        fp16: Store weights in half precision and, for GPUs, compute the synthesis in it.
        progress: Is told what happens, a line at a time.
        target: What the synthesis gets special graphs for; every bundle runs on CPUs.

    Raises:
        NumericsError: A graph differs from PyTorch or from the oracle beyond the tolerance.
        InternalError: A graph is not portable.
    """
    with _one_thread():
        roles = role_graphs(parts)
        cases = fixed_cases(roles, parts.generator)
        domains = [domain.tokens for domain in parts.domains.values()]

        def samples(role: str) -> Iterator[Arrays]:
            return range_cases(role, roles, parts.generator, domains)

        order = _Order(fp16, target, parts.usual_rank, samples, progress)
        known = {name: cases_of(role, cases[name]) for name, role in roles.items()}
        exported = {name: _export_role(role, known[name], order) for name, role in roles.items()}
        flow, split = _check_together(exported, roles, known, parts.generator.table, order)
        return ExportedModel(exported, flow, split)


def _check_together(
    exported: dict[str, Exported],
    roles: dict[str, RoleGraph],
    cases: dict[str, list[Case]],
    table: LayerTable,
    order: _Order,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """See `ExportedModel`, flow and split."""
    flow: dict[str, Any] = {}
    split: dict[str, Any] = {}
    inverter = inverter_of(roles)
    drawn = cases["synthesis"][-1].inputs
    domain = {name: drawn[name] for name in TOKENS}
    for provider in _proven_providers(exported):
        runs = {name: _run_with(provider, name, own) for name, own in exported.items()}
        tolerance = BF16 if provider == "openvino-bf16" else FP16_STORED if order.fp16 else FP32
        if "synthesis_lower" in roles:
            split[provider] = check_parts(runs, cases["synthesis"], tolerance)
            order.progress(f"both parts of the synthesis, {provider}: {_summary(split[provider])}")
        if inverter is not None:
            image = cases[inverter][-1].inputs["image"]
            flow[provider] = check_flow(roles, runs, table, image, domain, tolerance)
            order.progress(f"whole inversion, {provider}: {_summary(flow[provider])}")
    return flow, split


def _export_role(role: RoleGraph, cases: list[Case], order: _Order) -> Exported:
    progress = order.progress
    progress(f"{role.name}: tracing")
    intermediate = role.intermediate()
    refined = len(forms.refined_convs(intermediate))
    layers = layer_values(role, cases[-1].inputs) if refined else None
    flat = forms.expand(intermediate)
    halves = order.fp16 and has_large_constants(flat)
    parity: dict[str, Any] = {"fp32": _check(role, finish(flat, role.name), cases, FP32, layers)}
    precision = "fp16_stored" if halves else "fp32"
    model = finish(store_fp16(flat) if halves else flat, role.name)
    if halves:
        parity[precision] = _check(role, model, cases, FP16_STORED, layers)
    form = "dense" if refined else "plain"
    files = [GraphFile(f"graphs/{role.name}.onnx", model, precision, form, _batch(model))]
    if refined and order.target != "cpu":
        own, measured = _for_gpus(role.name, intermediate, order)
        files = own + files
        parity |= measured
    if refined and order.target != "gpu":
        single = for_cpus(intermediate)
        model = finish(store_fp16(single) if halves else single, role.name)
        files.insert(0, GraphFile(f"graphs/{role.name}.cpu.onnx", model, precision, "cpu", 1))
        parity["cpu form"] = {"layers": _check_single(model, layers, TOLERANCES[precision])}
    proven = proven_variants(
        role,
        files,
        cases,
        bf16=has_large_constants(flat) and role.name not in _NOT_IN_BF16,
        tensorrt=order.target != "cpu" and role.name not in HOST_ROLES,
        progress=progress,
    )
    parity |= {label(variant): {"outputs": numbers} for variant, numbers in proven.items()}
    for file in files:
        progress(f"{role.name}: {file.form} form, {file.model.ByteSize() / 1e6:.2f} MB")
    for variant, numbers in proven.items():
        progress(f"{role.name}: {label(variant)}, {_summary(numbers)}")
    models = {file.path: file.model for file in files}
    return Exported(role_of(files[-1], tuple(proven)), models, parity, cases[0])


def _for_gpus(
    name: str, intermediate: onnx.ModelProto, order: _Order
) -> tuple[list[GraphFile], dict[str, Any]]:
    """The synthesis as TensorRT and, in fp16, ONNX Runtime take it; what fp16 has to hold."""
    plugins = plugin_graph(intermediate, order.rank)
    path = f"graphs/{name}.tensorrt.onnx"
    if not order.fp16:
        model = finish(plugins, name, domain=DOMAIN)
        return [GraphFile(path, model, "fp32", FORM, "dynamic")], {}
    order.progress(f"{name}: measuring what fp16 has to hold, which takes minutes at full size")
    model = forms.expand(intermediate, forms.dense_normalised)
    convs = forms.refined_convs(intermediate)
    nodes = map_nodes(model, convs)
    ranges = measure(model, nodes, order.samples(name))
    order.progress(f"{name}: {_in_fp32(ranges)}")

    def half(model: onnx.ModelProto) -> onnx.ModelProto:
        layers = map_nodes(model, convs)
        return compute_in_half(model, {n for n in layers if layers[n] not in ranges.beyond})

    flat, own = finish(store_fp16(half(model)), name), finish(half(plugins), name, domain=DOMAIN)
    files = [
        GraphFile(path, own, "fp16", FORM, "dynamic"),
        GraphFile(f"graphs/{name}.fp16.onnx", flat, "fp16", "dense", "dynamic"),
    ]
    return files, {"fp16 ranges": ranges.to_json()}


def _proven_providers(exported: dict[str, Exported]) -> list[str]:
    """CPU providers that every role has a proven variant for; bf16 where any role has."""
    variants = [own.role.variants for own in exported.values()]
    providers = ["cpu"]
    if any(v.engine == "native" for own in variants for v in own):
        providers.append("native")
    if all(any(v.engine == "openvino" for v in own) for own in variants):
        providers.append("openvino")
        if any(v.precision == "bf16" for own in variants for v in own):
            providers.append("openvino-bf16")
    return providers


def _run_with(provider: str, name: str, exported: Exported) -> RunGraph:
    variant = choose_variant(name, exported.role, provider)
    return opened(name, chosen(exported.role, variant, exported.models[variant.file]))


def _check_single(model: onnx.ModelProto, layers: LayerValues, tolerance: Tolerance) -> Any:
    """`check_layers` of a graph that takes one sample, on the first sample of the case."""
    first = LayerValues(
        *({name: value[:1] for name, value in v.items()} for v in vars(layers).values())
    )
    return check_layers(model.SerializeToString(), first, tolerance)


def _batch(model: onnx.ModelProto) -> int | str:
    first = model.graph.input[0].type.tensor_type.shape.dim
    return "dynamic" if first[0].dim_param == "N" else 1


def _check(
    role: RoleGraph,
    model: onnx.ModelProto,
    cases: list[Case],
    tolerance: Tolerance,
    layers: LayerValues | None,
) -> dict[str, Any]:
    data = model.SerializeToString()
    run = OnnxRuntimeEngine(role.name, data, "cpu", threads=1).run
    measured: dict[str, Any] = {"outputs": check_role(role, run, cases, tolerance)}
    if layers is not None:
        measured["layers"] = check_layers(data, layers, tolerance)
    return measured


def _in_fp32(ranges: Ranges) -> str:
    """What the measurement means, in a line."""
    largest = f"largest magnitude {max(ranges.largest.values()):.3g} over {ranges.samples} latents"
    kept = ", ".join(ranges.beyond)
    return f"{largest}; " + (f"stay in fp32: {kept}" if kept else "every layer in fp16")


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
