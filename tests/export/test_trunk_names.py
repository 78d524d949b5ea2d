"""The names by which the native engine finds an encoder's trunk in its role's graph."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from rs_export import trunk_names, variants
from rs_export.forms import expand
from rs_export.graphs.base_inverter import base_inverter_role
from rs_export.graphs.inverter import inverter_role
from rs_export.graphs.refiner import refiner_role
from rs_export.graphs.role import TracedRole
from rs_export.parity import run_graph
from rs_export.portable import finish
from rs_export.precision import store_fp16
from rs_export.trunk_names import has_trunk, name_trunk
from rs_export.variants import GraphFile, proven_variants
from rs_runtime.contracts.roles import Variant
from rs_train.inverters import E4E, PSP, OneStage, OneStageConfig, StyleHeadsConfig
from rs_train.inverters.refine import Refiner, RefinerConfig
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig
from tests.native.lively import lively

SIZE = 32
WIDTHS = (8, 8, 12, 16)
CONVS = ((16, 16), (16, 12), (12, 8))
LATENT = {"num_ws": 4, "w_dim": 16}
ENDS = (3, 7, 21, 24)  # units up to the end of each stage


def refiner() -> TracedRole:
    config = RefinerConfig(
        image_size=SIZE, conv_channels=CONVS, refined_layers=2, rank=2, channels=WIDTHS, heads=2
    )
    return refiner_role(lively(Refiner(config)), 2 * SIZE)


def style_transformer() -> TracedRole:
    config = StyleTransformerConfig(image_size=SIZE, z_dim=16, channels=WIDTHS, heads=2, **LATENT)
    return base_inverter_role(lively(StyleTransformer(config)))


def psp() -> TracedRole:
    return base_inverter_role(lively(PSP(style_heads())))


def e4e() -> TracedRole:
    return base_inverter_role(lively(E4E(style_heads())))


def style_heads() -> StyleHeadsConfig:
    return StyleHeadsConfig(image_size=SIZE, channels=WIDTHS, **LATENT)


def one_stage() -> TracedRole:
    config = OneStageConfig(
        image_size=SIZE, z_dim=16, channels=WIDTHS, heads=2, conv_channels=CONVS, refined_layers=2,
        rank=2, **LATENT,
    )  # fmt: skip
    return inverter_role(lively(OneStage(config)))


def unnamed(role: TracedRole) -> onnx.ModelProto:
    return replace(role, arrange=lambda model: model).intermediate()


@pytest.fixture(scope="module")
def role() -> TracedRole:
    """A refiner with a whole trunk: the short ones are for single tests."""
    return refiner()


@pytest.fixture(scope="module")
def plain(role: TracedRole) -> onnx.ModelProto:
    """Its graph as it is traced."""
    return unnamed(role)


def expected_shapes(in_channels: int) -> dict[str, tuple[int, ...]]:
    """Every constant of a trunk."""
    shapes = {
        "trunk.input.weight": (WIDTHS[0], in_channels, 3, 3),
        "trunk.input.bias": (WIDTHS[0],),
        "trunk.input.slope": (1, WIDTHS[0], 1, 1),
    }
    before = WIDTHS[0]
    for index in range(24):
        width = WIDTHS[next(stage for stage, end in enumerate(ENDS) if index < end)]
        name = f"trunk.units.{index}"
        shapes |= {f"{name}.norm.{k}": (before,) for k in ("weight", "bias", "mean", "variance")}
        shapes |= {
            f"{name}.conv1.weight": (width, before, 3, 3),
            f"{name}.slope": (1, width, 1, 1),
            f"{name}.conv2.weight": (width, width, 3, 3),
            f"{name}.conv2.bias": (width,),
            f"{name}.gate.reduce": (1, width, 1, 1),
            f"{name}.gate.expand": (width, 1, 1, 1),
        }
        if width != before:
            shapes |= {
                f"{name}.projection.weight": (width, before, 1, 1),
                f"{name}.projection.bias": (width,),
            }
        before = width
    return shapes


def trunk_constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name.startswith("trunk.")
    }


def shapes_of_values(model: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    return {
        info.name: [side.dim_value for side in info.type.tensor_type.shape.dim][1:]
        for info in inferred
    }


def random_inputs(role: TracedRole) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        name: rng.integers(0, 256, value.shape, np.uint8)
        if value.dtype == torch.uint8
        else rng.uniform(-1, 1, value.shape).astype(np.float32)
        for name, value in role.example.items()
    }


def check_names(role: TracedRole, plain: onnx.ModelProto, named: onnx.ModelProto) -> None:
    in_channels = 6 if role.name == "refiner" else 3
    found = {name: value.shape for name, value in trunk_constants(named).items()}
    assert found == expected_shapes(in_channels)
    assert not [t.name for t in named.graph.initializer if "trunk.body" in t.name]
    shapes = shapes_of_values(finish(named, role.name))
    assert shapes["trunk.picture"] == [in_channels, SIZE, SIZE]
    for name, side, width in zip(
        ("quarter", "eighth", "sixteenth"), (4, 8, 16), WIDTHS[1:], strict=True
    ):
        assert shapes[f"trunk.{name}"] == [width, SIZE // side, SIZE // side]
    inputs = random_inputs(role)
    before, after = (
        run_graph(role.name, finish(expand(model), role.name).SerializeToString(), inputs)
        for model in (plain, named)
    )
    for name in role.outputs:
        assert before[name].std() > 0
        assert np.array_equal(before[name], after[name])


def test_a_refiner_has_all_names_and_computes_the_same(
    role: TracedRole, plain: onnx.ModelProto
) -> None:
    check_names(role, plain, name_trunk(plain))


@pytest.mark.nightly
@pytest.mark.parametrize("make", [refiner, style_transformer, psp, e4e, one_stage])
def test_an_encoder_s_role_names_its_trunk(make: Callable[[], TracedRole]) -> None:
    role = make()
    check_names(role, unnamed(role), role.intermediate())


def test_the_names_stand_for_the_weights_of_the_network(
    role: TracedRole, plain: onnx.ModelProto
) -> None:
    found = trunk_constants(name_trunk(plain))
    unit = role.module.refiner.pyramid.trunk.body[8]
    norm, conv1, prelu, conv2, folded, gate = unit.residual
    factor = folded.weight / torch.sqrt(folded.running_var + folded.eps)
    for name, value in {
        "norm.weight": norm.weight,
        "norm.bias": norm.bias,
        "norm.mean": norm.running_mean,
        "norm.variance": norm.running_var,
        "conv1.weight": conv1.weight,
        "slope": prelu.weight[None, :, None, None],
        "conv2.weight": conv2.weight * factor[:, None, None, None],
        "conv2.bias": folded.bias - folded.running_mean * factor,
        "gate.reduce": gate.reduce.weight,
        "gate.expand": gate.expand.weight,
    }.items():
        own = found[f"trunk.units.8.{name}"]
        np.testing.assert_allclose(own, value.detach(), rtol=1e-5, atol=1e-6)


def test_stored_in_half_the_names_stay(plain: onnx.ModelProto) -> None:
    named = name_trunk(plain)
    stored = finish(store_fp16(expand(named)), "refiner")
    assert has_trunk(stored) and not has_trunk(finish(expand(plain), "refiner"))
    found = trunk_constants(stored)
    assert found["trunk.units.0.conv1.weight.fp16"].dtype == np.float16
    assert found["trunk.units.0.norm.weight"].dtype == np.float32
    assert {name.removesuffix(".fp16") for name in found} == {*expected_shapes(6)}


def test_what_units_share_is_copied(plain: onnx.ModelProto) -> None:
    model = copy(plain)
    first, second = norms(model)[:2]
    second.input[1:] = first.input[1:]
    old = {*first.input[1:]}
    named = name_trunk(model)
    found = trunk_constants(named)
    assert {*found} == {*expected_shapes(6)}
    for part in ("weight", "bias", "mean", "variance"):
        one, other = (found[f"trunk.units.{index}.norm.{part}"] for index in (0, 1))
        assert np.array_equal(one, other)
    assert not old & {tensor.name for tensor in named.graph.initializer}


def test_what_others_share_with_the_trunk_stays(plain: onnx.ModelProto) -> None:
    model = copy(plain)
    name = norms(model)[0].input[2]
    model.graph.node.append(helper.make_node("Neg", [name], ["negated"], name="other"))
    model.graph.output.append(helper.make_tensor_value_info("negated", 1, [WIDTHS[0]]))
    constants = {tensor.name for tensor in name_trunk(model).graph.initializer}
    assert {name, "trunk.units.0.norm.bias"} <= constants


def test_names_are_given_once(plain: onnx.ModelProto) -> None:
    named = name_trunk(plain)
    assert name_trunk(named) == named


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def norms(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "BatchNormalization"]


def a_second_trunk(model: onnx.ModelProto) -> None:
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    again = model.graph.node.add()
    again.CopyFrom(first)
    again.output[0] = again.name = "again"


def pictures_that_are_not_square(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]
    for value, axis in zip(model.graph.input, (1, 2), strict=True):
        value.type.tensor_type.shape.dim[axis].dim_value *= 2


def another_epsilon(model: onnx.ModelProto) -> None:
    (epsilon,) = (own for own in norms(model)[5].attribute if own.name == "epsilon")
    epsilon.f = 1e-3


def a_reader_of_another_map(model: onnx.ModelProto) -> None:
    """As feature encoders have, which look at all stages."""
    inside = norms(model)[3].input[0]
    model.graph.node.append(helper.make_node("Neg", [inside], ["negated"], name="outside"))


def a_map_that_the_graph_gives(model: onnx.ModelProto) -> None:
    tap = norms(model)[7].input[0]
    model.graph.output.append(helper.make_tensor_value_info(tap, 1, None))


def a_gate_with_a_bias(model: onnx.ModelProto) -> None:
    mean = next(node for node in model.graph.node if node.op_type == "ReduceMean")
    reduce = next(node for node in model.graph.node if mean.output[0] in node.input)
    reduce.input.append("bias")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "bias"))


@pytest.mark.parametrize(
    "change",
    [
        a_second_trunk,
        pictures_that_are_not_square,
        another_epsilon,
        a_reader_of_another_map,
        a_map_that_the_graph_gives,
        a_gate_with_a_bias,
    ],
)
def test_what_the_native_engine_could_not_run_stays_as_it_is(
    plain: onnx.ModelProto, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = copy(plain)
    change(model)
    assert name_trunk(model) == model


@pytest.mark.parametrize("name", ["mapping", "preprocess", "refiner", "base_inverter"])
def test_so_does_what_has_no_whole_trunk(traced: dict[str, onnx.ModelProto], name: str) -> None:
    """The encoders of the shared model have four units."""
    assert not has_trunk(traced[name])
    assert name_trunk(traced[name]) == traced[name]


def test_shapes_are_inferred_where_the_trace_does_not_tell(plain: onnx.ModelProto) -> None:
    model = copy(plain)
    del model.graph.value_info[:]
    assert has_trunk(name_trunk(model))


def test_an_encoder_with_a_large_named_trunk_has_a_native_variant(
    role: TracedRole, plain: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "installed", lambda: (("cpu", "native"), {}))
    monkeypatch.setattr(variants, "_stand_in", lambda *args: None)
    monkeypatch.setattr(variants, "check_role", lambda *args: {})

    def engines(model: onnx.ModelProto) -> list[Variant]:
        model = finish(store_fp16(expand(model)), role.name)
        file = GraphFile("graphs/refiner.onnx", model, "fp16_stored", "plain", "dynamic")
        found = proven_variants(role, [file], [], bf16=True, tensorrt=False, progress=print)
        return [*found]

    own = Variant("graphs/refiner.onnx", "native", "fp16_stored", "winograd", 1)
    assert own not in engines(name_trunk(plain))
    monkeypatch.setattr(trunk_names, "_GAINS_FROM", SIZE**2 * WIDTHS[0] ** 2)
    assert engines(name_trunk(plain)) == [*engines(plain), own]
    assert own not in engines(plain)
