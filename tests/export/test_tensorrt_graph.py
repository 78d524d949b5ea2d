"""The graph for TensorRT: the same picture by functions, by the plugin's kernel, and in fp16."""

import onnx
import pytest
from onnx import helper

from rs_export.compare import FP16, FP32, Difference, require
from rs_export.export import role_graphs
from rs_export.forms import dense, expand, refined_convs
from rs_export.graphs.role import Arrays
from rs_export.half import compute_in_half, map_nodes
from rs_export.half_emulation import emulate
from rs_export.intermediate import DOMAIN
from rs_export.parity import run_graph
from rs_export.parser_input import for_bodies, for_plugins
from rs_export.portable import finish
from rs_export.sources import Parts, find_sources, load_parts
from rs_export.tensorrt_graph import plugin_graph
from rs_runtime.contracts.errors import InternalError
from tests.plugins.plugin_nodes import by_kernel, by_plugin, run

# The tiny model's layers have 8 to 16 channels: all are low rank, some, none.
RANKS = {2: "low rank", 12: "both", 40: "dense"}


@pytest.fixture(scope="session")
def synthesis(traced: dict[str, onnx.ModelProto]) -> onnx.ModelProto:
    return traced["synthesis"]


@pytest.fixture(scope="session")
def inputs(cases: dict[str, list[Arrays]]) -> Arrays:
    """Two samples with tokens, offsets and modulation of their own."""
    return cases["synthesis"][-1]


@pytest.fixture(scope="session")
def expected(parts: Parts, inputs: Arrays) -> Arrays:
    """What PyTorch gives."""
    return role_graphs(parts)["synthesis"].reference(inputs)


def graph(synthesis: onnx.ModelProto, rank: int, fp16: bool, keep: str = "") -> onnx.ModelProto:
    """The graph as it is shipped; layer `keep` stays in fp32."""
    model = plugin_graph(synthesis, rank)
    if fp16:
        layers = map_nodes(model, refined_convs(synthesis))
        model = compute_in_half(model, {node for node in layers if layers[node] != keep})
    return finish(model, "synthesis", domain=DOMAIN)


def check(found: Arrays, expected: Arrays, fp16: bool) -> dict[str, Difference]:
    tolerance = FP16 if fp16 else FP32
    return {name: require(found[name], expected[name], tolerance, name) for name in expected}


@pytest.mark.parametrize("rank", RANKS, ids=RANKS.get)
def test_functions_give_pytorch_s_picture(synthesis, inputs, expected, rank) -> None:
    model = graph(synthesis, rank, fp16=False)
    check(run_graph("synthesis", model.SerializeToString(), inputs), expected, fp16=False)
    flat = for_bodies(model)
    assert not flat.functions and not [node for node in flat.graph.node if node.domain]
    check(run_graph("synthesis", flat.SerializeToString(), inputs), expected, fp16=False)


def test_functions_in_fp16(synthesis, inputs, expected) -> None:
    check(emulate(for_bodies(graph(synthesis, 12, fp16=True)))(inputs), expected, fp16=True)


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("rank", RANKS, ids=RANKS.get)
def test_the_kernel_in_every_node(host_library, synthesis, inputs, expected, rank, fp16) -> None:
    model = for_plugins(graph(synthesis, rank, fp16))
    found, seen = run(model, by_kernel(host_library), inputs)
    check(found, expected, fp16)
    assert len(seen) == len(refined_convs(synthesis))
    dense_nodes = [name for name in seen if name.endswith("Dense")]
    assert {2: not dense_nodes, 12: 0 < len(dense_nodes) < len(seen), 40: dense_nodes == seen}[rank]


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
def test_the_plugin_in_every_node(built, synthesis, inputs, expected, fp16) -> None:
    model = for_plugins(graph(synthesis, 12, fp16))
    found, seen = run(model, by_plugin(*built), inputs)
    check(found, expected, fp16)
    assert len(seen) == len(refined_convs(synthesis))


def test_a_layer_kept_in_fp32(host_library, synthesis, inputs, expected) -> None:
    model = for_plugins(graph(synthesis, 12, fp16=True, keep="b16.conv0"))
    types = {
        node.name: helper.tensor_dtype_to_np_dtype(node.data_type).name
        for node in model.graph.initializer
    }
    assert types["b16.conv0.weight"] == "float32" and types["b8.conv0.weight.half"] == "float16"
    found, _ = run(model, by_kernel(host_library), inputs)
    check(found, expected, fp16=True)


def test_maps_are_in_fp16_and_all_else_is_not(synthesis) -> None:
    model = graph(synthesis, 12, fp16=True)
    inferred = onnx.shape_inference.infer_shapes(for_bodies(model), strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for conv in refined_convs(synthesis):
        for name in ("x_modulated", "base", "residual"):
            assert types[f"{conv.layer}.{name}"] == half
        for name in ("gain", "dW", "norm_safe", "d", "d_scaled", "gain_scale"):
            assert types[f"{conv.layer}.{name}"] == single
        assert types[conv.layer] == half


@pytest.mark.parametrize("forgotten", ["LeakyRelu", "Mul"])
def test_other_epilogues_are_refused(synthesis, forgotten) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(synthesis)
    refined = next(node for node in changed.graph.node if node.domain == DOMAIN)
    value = refined.output[0]
    while True:
        reader = next(node for node in changed.graph.node if value in node.input)
        if reader.op_type == forgotten:
            reader.op_type, reader.ClearField("attribute")
            reader.op_type = "Softplus" if forgotten == "LeakyRelu" else "Div"
            break
        value = reader.output[0]
    with pytest.raises(InternalError, match=r"b4\.conv1"):
        plugin_graph(changed, 12)


def test_layers_without_noise(host_library, synthesis, inputs) -> None:
    """Noise of strength 0 may be folded away when a generator is traced."""
    changed = onnx.ModelProto()
    changed.CopyFrom(synthesis)
    noises = set()
    for tensor in changed.graph.initializer:
        if len(tensor.dims) == 2 and list(tensor.dims) == [4, 4]:
            noises.add(tensor.name)
    (noise,) = [node for node in changed.graph.node if noises & set(node.input)]
    value, out = noise.input[0], noise.output[0]
    changed.graph.node.remove(noise)
    for node in changed.graph.node:
        node.input[:] = [value if name == out else name for name in node.input]
    without = finish(expand(changed, dense), "synthesis")
    reference = run_graph("synthesis", without.SerializeToString(), inputs)
    found, _ = run(for_plugins(graph(changed, 2, False)), by_kernel(host_library), inputs)
    check(found, reference, fp16=False)


@pytest.mark.nightly
def test_the_demo_s_synthesis(host_library) -> None:
    """fp32 and fp16 at 128 x 128, 11 layers, functions and kernel: at least 60 dB in fp16."""
    parts = load_parts(find_sources("two_stage"))
    roles = role_graphs(parts)
    from rs_export.cases import fixed_cases

    inputs = fixed_cases(roles, parts.generator)["synthesis"][-1]
    expected = roles["synthesis"].reference(inputs)
    synthesis = roles["synthesis"].intermediate()
    evaluate = by_kernel(host_library)
    for fp16 in (False, True):
        model = graph(synthesis, parts.usual_rank, fp16)
        found, _ = run(for_plugins(model), evaluate, inputs)
        measured = check(found, expected, fp16)
        assert not fp16 or measured["image_float"].psnr_db > 60
