"""Flat, portable files: one graph of standard operators with its weights inside and no trace of us.

OpenVINO refuses model-local functions, mobile builds cannot inline them, ONNX Runtime before 1.19
stops at IR 9, and TensorRT 10.3 at opset 20; so none of these limits is exceeded.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import onnx
from onnx import AttributeProto, numpy_helper

from rs_runtime.contracts.errors import InternalError
from rs_runtime.contracts.roles import DTYPES, TensorSpec
from rs_runtime.contracts.strict_json import canonical_json

MAX_OPSET = 20
IR_VERSION = 9
# What a path of the machine that exported would contain.
_PATHS = re.compile(
    r"site-packages|dist-packages|\.pyc?(?![\w])|/home/|/tmp/|/usr/|[\\/]Users[\\/]"
)


def finish(model: onnx.ModelProto, role: str, *, domain: str = "") -> onnx.ModelProto:
    """Return a copy ready to be shipped: IR 9, stripped, labelled, and checked to be flat.

    Args:
        model: A model of standard operators.
        role: Its role in the bundle, also the graph's name.
        domain: Of nodes that are let through, each with a function of its name in the model.

    Raises:
        InternalError: The model is not flat or not valid.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = IR_VERSION
    result.producer_name, result.producer_version, result.domain = "rs-export", "", ""
    result.doc_string, result.model_version = "", 0
    result.graph.name, result.graph.doc_string = role, ""
    del result.metadata_props[:], result.graph.value_info[:], result.graph.metadata_props[:]
    del result.graph.quantization_annotation[:]
    for item in (*result.graph.node, *result.graph.initializer, *_values(result)):
        item.doc_string = ""
        del item.metadata_props[:]
    _keep_used(result, domain)
    spec = {
        "inputs": [asdict(item) for item in tensor_specs(result.graph.input)],
        "outputs": [asdict(item) for item in tensor_specs(result.graph.output)],
    }
    facts = {"role": role, "spec": canonical_json(spec).decode()}
    onnx.helper.set_model_props(result, facts)
    check_flat(result, domain=domain)
    onnx.checker.check_model(result, full_check=True)
    return result


def for_one(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose batch side N is 1."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in _values(result):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == "N":
                side.dim_value = 1
    return result


def tensor_specs(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    """Describe inputs or outputs of a graph as a manifest does.

    Raises:
        InternalError: A side without length or name, or a dtype that bundles do not use.
    """
    specs = []
    for value in values:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        sides = tuple(side.dim_param or side.dim_value for side in tensor.shape.dim)
        if dtype not in DTYPES or 0 in sides:
            raise InternalError(f"{value.name} cannot be described", found=f"{dtype} {sides}")
        specs.append(TensorSpec(value.name, dtype, sides))
    return tuple(specs)


def check_flat(model: onnx.ModelProto, *, domain: str = "") -> None:
    """Check that a model is flat, but for functions of `domain`, and carries no source path.

    Raises:
        InternalError: Says what is not allowed.
    """
    graph = model.graph
    faults = []
    if model.ir_version > IR_VERSION:
        faults.append(f"IR {model.ir_version}")
    faults += [
        f"opset {opset.domain or 'onnx'} {opset.version}"
        for opset in model.opset_import
        if opset.domain not in ("", domain) or opset.version > MAX_OPSET
    ]
    functions = {function.name for function in model.functions if function.domain == domain}
    faults += [f"function {f.name}" for f in model.functions if f.name not in functions]
    faults += [
        f"{node.domain}.{node.op_type}"
        for node in graph.node
        if node.domain and not (node.domain == domain and node.op_type in functions)
    ]
    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    faults += [
        f"subgraph in {node.op_type}"
        for node in graph.node
        if any(attribute.type in graphs for attribute in node.attribute)
    ]
    faults += [f"external data of {t.name}" for t in graph.initializer if t.external_data]
    faults += ["sparse initialisers"] if graph.sparse_initializer else []
    faults += [f"path {text!r}" for text in _texts_like_paths(model)]
    if faults:
        raise InternalError(
            f"the {graph.name} graph is not portable",
            found=", ".join(faults[:5]),
            expected=f"standard operators up to opset {MAX_OPSET}, IR up to {IR_VERSION}",
        )


def _texts_like_paths(model: onnx.ModelProto) -> Iterator[str]:
    """Strings in the file, weights apart, that look like a path of the exporting machine."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
    text = bare.SerializeToString().decode("latin-1")
    ours = re.compile(re.escape(str(Path(__file__).resolve().parents[1])))
    for pattern in (_PATHS, ours):
        for match in pattern.finditer(text):
            yield text[max(match.start() - 20, 0) : match.end() + 20]


def _values(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    yield from model.graph.input
    yield from model.graph.output


def drop_unread(graph: onnx.GraphProto) -> None:
    """Leave out the constants that no node reads and that are no output."""
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _keep_used(model: onnx.ModelProto, domain: str) -> None:
    drop_unread(model.graph)
    # One form of storage for all, so that equal weights give equal bytes.
    packed = [
        numpy_helper.from_array(numpy_helper.to_array(t), t.name) for t in model.graph.initializer
    ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(packed)
    imported = [opset for opset in model.opset_import if opset.domain in ("", domain)]
    del model.opset_import[:]
    model.opset_import.extend(imported)
