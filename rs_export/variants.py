"""The ways in which a role's files can be run, each proven before a bundle lists it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import onnx

from rs_export.compare import TOLERANCES
from rs_export.graphs.role import RoleGraph
from rs_export.half_emulation import emulate
from rs_export.parity import Case, Numbers, RunGraph, check_role, opened
from rs_export.parser_input import for_bodies
from rs_export.plugin_bodies import FORM
from rs_export.portable import tensor_specs
from rs_export.trunk_names import gains_by_native
from rs_runtime.contracts.errors import NumericsError
from rs_runtime.contracts.roles import Role, Variant
from rs_runtime.engines.select import Chosen, installed
from rs_runtime.roles import NATIVE_ROLE, input_shapes

Progress = Callable[[str], None]

# On one thread OpenVINO 2026.4 crashes while it compiles a chain of small linear layers for a batch
# that it knows. Such a graph is too small to gain by knowing.
_OPEN_BATCH = ("hypernetwork",)
NATIVE_FORM = "winograd"


@dataclass(frozen=True)
class GraphFile:
    """One file of a role.

    Attributes:
        path: Its place in the bundle.
        model: Flat ONNX; in form "plugin" with nodes of the plugin and their functions.
        precision: "fp32", "fp16_stored", or "fp16" for a graph that computes in it.
        form: Form of the refined convolutions, "plain" without any.
        batch: "dynamic", or the one batch that it takes.
    """

    path: str
    model: onnx.ModelProto
    precision: str
    form: str
    batch: int | str


def role_of(file: GraphFile, variants: tuple[Variant, ...]) -> Role:
    """A role's entry in the manifest, described by its file of a dynamic batch."""
    graph = file.model.graph
    return Role(tensor_specs(graph.input), tensor_specs(graph.output), variants)


def proven_variants(
    role: RoleGraph,
    files: list[GraphFile],
    cases: list[Case],
    *,
    bf16: bool,
    tensorrt: bool,
    progress: Progress,
) -> dict[Variant, Numbers]:
    """Run every file with every engine that is installed here, and keep what passes.

    A graph that computes in fp16 is opened by its engine and run by `half_emulation`: no engine
    rounds to fp16 on a CPU. One for TensorRT is run by ONNX Runtime, functions for plugins.

    Args:
        role: Names the outputs.
        files: Files of the role, the preferred one first, that of a dynamic batch last.
        cases: What to compare on.
        bf16: Whether computing in bf16 may be offered.
        tensorrt: Whether engines of TensorRT may be built from files without refined layers.
        progress: Is told of what is left out.

    Returns:
        The worst differences by variant, in order of preference.

    Raises:
        NumericsError: A variant, other than in bf16, differs beyond its tolerance.
    """
    proven: dict[Variant, Numbers] = {}
    for variant, file in _candidates(role.name, files, bf16, tensorrt):
        run = _stand_in(role.name, role_of(files[-1], (variant,)), file.model)
        try:
            proven[variant] = check_role(role, run, cases, TOLERANCES[variant.precision])
        except NumericsError as error:
            if variant.precision != "bf16":
                raise
            progress(f"{role.name}: without bf16: {error.found}, {error.expected}")
    return proven


def chosen(role: Role, variant: Variant, model: onnx.ModelProto) -> Chosen:
    """A variant as the runtime would open it."""
    return Chosen(variant, model.SerializeToString(), input_shapes(role, variant))


def _stand_in(name: str, role: Role, model: onnx.ModelProto) -> RunGraph:
    """What runs a role's only variant on a machine without a GPU."""
    (variant,) = role.variants
    if variant.engine == "tensorrt":
        variant, model = replace(variant, engine="onnxruntime"), for_bodies(model)
    run = opened(name, chosen(role, variant, model))
    return emulate(model) if variant.precision == "fp16" else run


def label(variant: Variant) -> str:
    """How the manifest's `parity` calls a variant."""
    return f"{variant.engine} {variant.precision} {variant.form}"


def _candidates(
    role: str, files: list[GraphFile], bf16: bool, tensorrt: bool
) -> Iterator[tuple[Variant, GraphFile]]:
    """OpenVINO takes a role's preferred file for CPUs for one sample, ONNX Runtime takes each but
    those with plugins, TensorRT these; and without any the file of a batched role. The native
    engine takes the synthesis, and encoders whose trunk is named."""
    found, _ = installed()
    flat = [file for file in files if file.form != FORM]
    for file in flat:
        yield Variant(file.path, "onnxruntime", file.precision, file.form, file.batch), file
    own = [file for file in files if file.form == FORM or (tensorrt and file.form == "plain")]
    for file in filter(_is_batched, own):
        yield Variant(file.path, "tensorrt", file.precision, file.form, file.batch), file
    first = next(file for file in flat if file.precision != "fp16")
    is_one = first.batch == 1 or (_is_batched(first) and role not in _OPEN_BATCH)
    batch = 1 if is_one else "dynamic"
    if "openvino" in found:
        yield Variant(first.path, "openvino", first.precision, first.form, batch), first
    if "openvino-bf16" in found and bf16:
        yield Variant(first.path, "openvino", "bf16", first.form, batch), first
    last = flat[-1]
    if "native" in found and (role == NATIVE_ROLE or gains_by_native(last.model)):
        # It has a form of its own, and takes no more than the named constants of any file; what
        # is before and after a trunk in it, other engines run.
        yield Variant(last.path, "native", last.precision, NATIVE_FORM, 1), last


def _is_batched(file: GraphFile) -> bool:
    sides = [spec.shape[:1] for spec in tensor_specs(file.model.graph.input)]
    return all(side == ("N",) for side in sides)
