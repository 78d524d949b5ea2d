"""A whole two-stage model: traced, expanded, proven."""

import numpy as np
import onnx
import pytest

from rs_export.cases import fixed_cases
from rs_export.compare import FP32
from rs_export.export import ExportedModel, export_model, role_graphs
from rs_export.forms import expand, refined_convs
from rs_export.graphs.role import Arrays
from rs_export.parity import check_layers, check_role, layer_values, run_graph
from rs_export.portable import MAX_OPSET, check_flat, finish
from rs_export.sources import Parts, find_sources, load_parts
from rs_runtime.contracts.errors import NumericsError
from tests.export.tiny_model import save_checkpoints

ROLES = {"mapping", "synthesis", "preprocess", "base_inverter", "refiner"}
Traced = dict[str, onnx.ModelProto]


def test_one_node_a_refined_convolution(traced: Traced, parts: Parts) -> None:
    convs = parts.generator.table.convs
    nodes = refined_convs(traced["synthesis"])
    assert [(n.layer, n.up) for n in nodes] == [(c.name, c.up) for c in convs]
    assert [n.size * n.up for n in nodes] == [c.resolution for c in convs]
    for node, conv in zip(nodes, convs, strict=True):
        layer = parts.generator.synthesis.layers[conv.name.replace(".", "_")]
        assert np.array_equal(node.weight, (layer.weight * layer.weight_gain).numpy())
    others = {n.op_type for n in traced["synthesis"].graph.node if not n.domain}
    assert "RandomNormalLike" not in others


def test_every_role_is_flat_and_carries_no_path(exported: ExportedModel) -> None:
    assert set(exported.roles) == ROLES
    for role in exported.roles.values():
        check_flat(role.model)
        onnx.checker.check_model(role.model, full_check=True)
        assert role.model.ir_version == 9
        assert [opset.domain for opset in role.model.opset_import] == [""]
        assert role.model.opset_import[0].version <= MAX_OPSET
        data = role.model.SerializeToString()
        for mark in (b"site-packages", b"rs_train/", b"stack_trace", b"torch.nn"):
            assert mark not in data


def test_parity_is_recorded_by_output_and_by_layer(exported: ExportedModel, parts: Parts) -> None:
    synthesis = exported.roles["synthesis"].parity
    names = {conv.name for conv in parts.generator.table.convs} | {"image_float"}
    for pair in ("graph_pytorch", "graph_oracle", "pytorch_oracle"):
        assert set(synthesis["fp32"]["layers"][pair]) == names
        for numbers in synthesis["fp32"]["layers"][pair].values():
            assert 0 < numbers["max_abs"] <= 1e-3
        for numbers in synthesis["fp16_stored"]["layers"][pair].values():
            assert numbers["psnr_db"] >= 40
    for role in exported.roles.values():
        for numbers in role.parity["fp32"]["outputs"].values():
            assert numbers["max_abs"] <= 1  # uint8 images; floats are held to 1e-3
    assert exported.flow["fp16_stored"]["image_float"]["psnr_db"] >= 40
    assert exported.roles["synthesis"].precision == "fp16_stored"
    assert exported.roles["preprocess"].precision == "fp32", "it has no weights"


def test_batch_and_rank_are_dynamic(parts: Parts, traced: Traced) -> None:
    synthesis = role_graphs(parts)["synthesis"]
    graph = finish(expand(traced["synthesis"]), "synthesis").SerializeToString()
    rng = np.random.default_rng(0)
    table = parts.generator.table
    for batch, rank in ((1, 1), (4, 7)):
        inputs = {
            "w_plus": rng.standard_normal((batch, table.num_ws, table.w_dim), np.float32),
            "P": 0.1 * rng.standard_normal((batch, rank, table.sum_out), np.float32),
            "Q": 0.1 * rng.standard_normal((batch, rank, table.sum_in), np.float32),
            "style_offset": 0.1
            * rng.standard_normal((batch, table.style_channels_with_torgb), np.float32),
            "modulation": 1 + 0.1 * rng.standard_normal((batch, table.sum_in), np.float32),
        }
        found = run_graph("synthesis", graph, inputs)["image_float"]
        expected = synthesis.reference(inputs)["image_float"]
        assert found.shape == (batch, 3, 32, 32)
        assert np.abs(found - expected).max() < 1e-4


def test_samples_of_a_batch_do_not_mix(exported: ExportedModel, cases: dict) -> None:
    graph = exported.roles["synthesis"].model.SerializeToString()
    both = cases["synthesis"][-1]
    together = run_graph("synthesis", graph, both)["image_float"]
    for n in range(2):
        alone = run_graph("synthesis", graph, {k: v[n : n + 1] for k, v in both.items()})
        assert np.abs(alone["image_float"][0] - together[n]).max() < 1e-4


@pytest.mark.parametrize("role", ["base_inverter", "refiner"])
def test_fp16_files_are_about_half_the_size(
    role: str, exported: ExportedModel, traced: Traced
) -> None:
    def weights(model: onnx.ModelProto) -> int:
        return sum(len(tensor.raw_data) for tensor in model.graph.initializer)

    half = weights(exported.roles[role].model) / weights(finish(traced[role], role))
    assert 0.5 <= half < 0.6


def test_fixed_inputs_are_the_same_every_time(parts: Parts, cases: dict) -> None:
    again = fixed_cases(role_graphs(parts), parts.generator)
    assert set(again) == set(cases) == ROLES
    for role, inputs in cases.items():
        assert [len(case) for case in inputs] == [len(case) for case in again[role]]
        for first, second in zip(inputs, again[role], strict=True):
            assert all(np.array_equal(first[name], second[name]) for name in first)
        first_axis = next(iter(inputs[0].values()))
        assert role == "preprocess" or len(first_axis) == 1


def perturbed(model: onnx.ModelProto, name: str, factor: float) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = (t for t in copy.graph.initializer if t.name == name)
    value = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, name))
    return copy.SerializeToString()


@pytest.mark.parametrize(
    ("constant", "layer"), [("b8.conv0.weight", "b8.conv0"), ("b16.conv1.tap_sums", "b16.conv1")]
)
def test_a_wrong_constant_is_found_at_its_layer(
    constant: str, layer: str, parts: Parts, traced: Traced, cases: dict[str, list[Arrays]]
) -> None:
    role = role_graphs(parts)["synthesis"]
    graph = perturbed(finish(expand(traced["synthesis"]), "synthesis"), constant, 1.01)
    inputs = cases["synthesis"][-1]
    with pytest.raises(NumericsError, match=f"graph_pytorch {layer} is beyond"):
        check_layers(graph, layer_values(role, inputs), FP32)
    with pytest.raises(NumericsError, match=r"synthesis\.image"):
        check_role(role, graph, [inputs], FP32)


def test_tracing_twice_gives_the_same_bytes(parts: Parts, traced: Traced) -> None:
    again = role_graphs(parts)["mapping"].intermediate()
    assert (
        finish(again, "mapping").SerializeToString()
        == finish(traced["mapping"], "mapping").SerializeToString()
    )


@pytest.mark.nightly
def test_the_published_trunk_exports(tmp_path) -> None:
    """All 24 units, both inverters."""
    save_checkpoints(tmp_path)
    full = load_parts(find_sources("two_stage", [tmp_path]))
    done = export_model(full, fp16=True, progress=lambda line: None)
    assert set(done.roles) == ROLES
