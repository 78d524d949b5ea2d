"""What may not be in a shipped graph."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rs_export.portable import check_flat, finish, tensor_specs
from rs_runtime.contracts.errors import InternalError

FLOAT = onnx.TensorProto.FLOAT


def small_model() -> onnx.ModelProto:
    node = helper.make_node("Add", ["x", "one"], ["y"], name="add")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.ones(2, np.float32), "one"),
            numpy_helper.from_array(np.ones(9, np.float32), "unused"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _subgraph(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("x", FLOAT, None)])
    model.graph.node.append(
        helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body)
    )


def _function(model: onnx.ModelProto) -> None:
    inner = helper.make_node("Relu", ["a"], ["b"])
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("rs", "F", ["a"], ["b"], [inner], opset))


def _external(model: onnx.ModelProto) -> None:
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def _set(field: str, value: int) -> Callable[[onnx.ModelProto], None]:
    return lambda model: setattr(model, field, value)


FAULTS = {
    "IR 10": _set("ir_version", 10),
    "opset onnx 21": lambda model: setattr(model.opset_import[0], "version", 21),
    "opset rs 1": lambda model: model.opset_import.append(helper.make_opsetid("rs", 1)),
    "rs.Op": lambda model: model.graph.node.append(
        helper.make_node("Op", ["x"], ["z"], domain="rs")
    ),
    "subgraph in If": _subgraph,
    "function F": _function,
    "external data of one": _external,
    "site-packages": lambda model: setattr(
        model.graph.node[0], "doc_string", "File lib/site-packages/torch/nn"
    ),
    "synthesis.py": lambda model: setattr(
        model.graph.node[0], "name", "/root/rs_train/synthesis.py:12"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_flat_refuses(fault: str) -> None:
    model = small_model()
    check_flat(model)
    FAULTS[fault](model)
    with pytest.raises(InternalError) as error:
        check_flat(model)
    assert fault in str(error.value)


def test_weights_that_spell_a_path_are_no_path() -> None:
    model = small_model()
    text = b"/home/a.py  "
    model.graph.initializer[0].raw_data = text[:8]
    check_flat(model)


def test_finish_strips_labels_and_drops_what_is_unused() -> None:
    model = small_model()
    model.ir_version = 10
    model.producer_name, model.doc_string = "pytorch", "made in /home/user"
    for item in (model, model.graph, model.graph.node[0], model.graph.input[0]):
        entry = item.metadata_props.add()
        entry.key, entry.value = "stack_trace", "File /home/user/synthesis.py"
    done = finish(model, "mapping")
    data = done.SerializeToString()
    assert b"/home" not in data
    assert b"stack_trace" not in data
    assert done.ir_version == 9
    assert [tensor.name for tensor in done.graph.initializer] == ["one"]
    facts = {entry.key: entry.value for entry in done.metadata_props}
    assert facts["role"] == "mapping"
    assert '"shape":["N",2]' in facts["spec"]
    assert model.ir_version == 10, "the argument is left alone"


def test_a_side_without_length_or_name_is_refused() -> None:
    value = helper.make_tensor_value_info("x", FLOAT, [None, 2])
    with pytest.raises(InternalError, match="x cannot be described"):
        tensor_specs([value])
