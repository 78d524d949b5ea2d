"""A whole two-stage model: traced, expanded, proven."""

from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from rs_export.cases import fixed_cases
from rs_export.compare import FP32, TOLERANCES, Tolerance
from rs_export.export import ExportedModel, export_model, role_graphs
from rs_export.forms import expand, refined_convs
from rs_export.graphs.role import Arrays
from rs_export.parity import cases_of, check_layers, check_role, layer_values, run_graph
from rs_export.portable import MAX_OPSET, check_flat, finish
from rs_export.sources import Parts, find_sources, load_parts
from rs_export.variants import GraphFile, label, proven_variants
from rs_runtime.contracts.errors import NumericsError
from rs_runtime.engines.select import installed
from tests.export.tiny_model import save_checkpoints

DYNAMIC = "graphs/synthesis.onnx"
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
    for model in (model for role in exported.roles.values() for model in role.models.values()):
        check_flat(model)
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version == 9
        assert [opset.domain for opset in model.opset_import] == [""]
        assert model.opset_import[0].version <= MAX_OPSET
        data = model.SerializeToString()
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
    assert set(synthesis["cpu form"]["layers"]["graph_oracle"]) == names
    assert exported.flow["cpu"]["image_float"]["psnr_db"] >= 40


def test_every_variant_is_proven(exported: ExportedModel) -> None:
    general = {"onnxruntime"} | ({"openvino"} if find_spec("openvino") else set())
    for name, role in exported.roles.items():
        own = {"native"} if name == "synthesis" and "native" in installed()[0] else set()
        assert {variant.engine for variant in role.role.variants} == general | own
        for variant in role.role.variants:
            proof = role.parity[label(variant)]["outputs"]
            worst = [n["psnr_db"] for n in proof.values() if n["psnr_db"] is not None]
            assert min(worst, default=99) >= (38 if variant.precision == "bf16" else 40)
            assert variant.file in role.models
        precisions = {variant.precision for variant in role.role.variants}
        # What has no weights is not halved, and bf16 would spoil the picture that it makes.
        assert name != "preprocess" or precisions == {"fp32"}
        assert name == "preprocess" or precisions - {"bf16"} == {"fp16_stored"}


def test_a_variant_in_bf16_that_is_too_far_off_is_left_out(
    parts: Parts, traced: Traced, cases: dict[str, list[Arrays]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "openvino-bf16" not in installed()[0]:
        pytest.skip("no bf16 here")
    monkeypatch.setitem(TOLERANCES, "bf16", Tolerance(min_psnr_db=300))
    model = finish(traced["mapping"], "mapping")
    files = [GraphFile("mapping.onnx", model, "fp32", "plain", "dynamic")]
    said: list[str] = []
    role = role_graphs(parts)["mapping"]
    proven = proven_variants(
        role,
        files,
        cases_of(role, cases["mapping"]),
        bf16=True,
        tensorrt=False,
        progress=said.append,
    )
    assert {variant.precision for variant in proven} == {"fp32"}
    assert len(said) == 1 and said[0].startswith("mapping: without bf16")


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
    graph = exported.roles["synthesis"].models[DYNAMIC].SerializeToString()
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

    half = weights(exported.roles[role].models[f"graphs/{role}.onnx"]) / weights(
        finish(traced[role], role)
    )
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
    known = cases_of(role, [inputs])
    with pytest.raises(NumericsError, match=r"synthesis\.image"):
        check_role(role, lambda given: run_graph("synthesis", graph, given), known, FP32)


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
