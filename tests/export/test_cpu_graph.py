"""What a file for one picture on a CPU does besides the form of its convolutions."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from rs_export import forms
from rs_export.cpu_graph import for_cpus
from rs_export.graphs.synthesis import synthesis_role
from rs_export.portable import finish, for_one
from tests.export.tiny_model import tiny_generator


@pytest.fixture(scope="module")
def graphs() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The plain graph of one picture, and ours."""
    generator = tiny_generator()
    for name, parameter in generator.named_parameters():
        if name.endswith("bias"):
            parameter.data += 0.1
    intermediate = synthesis_role(generator).intermediate()
    plain = for_one(forms.expand(intermediate, forms.cpu))
    return finish(plain, "synthesis"), finish(for_cpus(intermediate), "synthesis")


def test_pictures_are_the_same(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    rng = np.random.default_rng(0)
    plain, ours = (
        onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        for graph in graphs
    )
    inputs = {
        value.name: rng.standard_normal(
            [side if isinstance(side, int) else 3 for side in value.shape], np.float32
        )
        for value in plain.get_inputs()
    }
    expected, found = plain.run(["image_float"], inputs)[0], ours.run(["image_float"], inputs)[0]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_no_two_constants_are_added_in_a_row(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    def rows(model: onnx.ModelProto) -> int:
        constants = {tensor.name for tensor in model.graph.initializer}
        added = {
            node.output[0]
            for node in model.graph.node
            if node.op_type == "Add" and constants & set(node.input)
        }
        return sum(
            bool(added & set(node.input)) and node.output[0] in added for node in model.graph.node
        )

    plain, ours = graphs
    # What is left is not of maps: styles, and the finished picture's grey levels.
    assert rows(plain) - rows(ours) == len(tiny_generator().table.convs)


def test_torgb_layers_do_not_scale_maps(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    def constant_kernels(model: onnx.ModelProto) -> Counter[tuple[int, ...]]:
        kernels = {t.name: tuple(t.dims) for t in model.graph.initializer}
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        return Counter(kernels[node.input[1]] for node in convolutions if node.input[1] in kernels)

    plain, ours = map(constant_kernels, graphs)
    torgb = plain - ours
    assert sum(torgb.values()) == len(tiny_generator().table.torgbs)
    assert all(kernel[0] == 3 for kernel in torgb)
