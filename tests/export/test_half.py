"""Computing in fp16: what is measured, what stays in fp32, and that the pictures hold."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, parser

from rs_export import ranges
from rs_export.compare import FP16, difference, require
from rs_export.export import role_graphs
from rs_export.forms import Form, dense, dense_normalised, expand, refined_convs
from rs_export.graphs.mapping import mapping_role
from rs_export.graphs.role import Arrays, TracedRole
from rs_export.graphs.synthesis import synthesis_role
from rs_export.half import compute_in_half, map_nodes
from rs_export.half_emulation import emulate
from rs_export.portable import finish
from rs_export.ranges import LIMIT, Ranges, measure, range_cases
from rs_runtime.contracts.bundle import read_bundle
from rs_runtime.contracts.errors import NumericsError
from rs_runtime.contracts.tokens import TokenSet
from rs_runtime.roles import choose_variant
from rs_train.generator import Generator
from tests.export.test_rs_export import rs_export
from tests.export.tiny_model import domain_of, tiny_generator

LARGEST = float(np.finfo(np.float16).max)


@dataclass
class Traced:
    """A synthesis in the intermediate form, its role, and inputs to measure it with."""

    role: TracedRole
    model: onnx.ModelProto
    cases: list[Arrays]

    def in_half(self, form: Form = dense_normalised, keep: bool = True) -> tuple[Ranges, Arrays]:
        """Measure it, and draw heads in fp16 (without fp32 layers unless `keep`)."""
        model = expand(self.model, form)
        nodes = map_nodes(model, refined_convs(self.model))
        found = measure(model, nodes, self.cases)
        held = {node for node, layer in nodes.items() if not (keep and layer in found.beyond)}
        return found, emulate(finish(compute_in_half(model, held), "synthesis"))(self.cases[-1])

    def in_single(self) -> Arrays:
        return self.role.reference(self.cases[-1])


def trace(generator: Generator, domains: list[TokenSet], model: onnx.ModelProto | None) -> Traced:
    roles = {"mapping": mapping_role(generator), "synthesis": synthesis_role(generator)}
    cases = list(islice(range_cases("synthesis", roles, generator, domains), 5))
    return Traced(roles["synthesis"], model or roles["synthesis"].intermediate(), cases)


@pytest.fixture(scope="module")
def sound(traced: dict[str, onnx.ModelProto]) -> Traced:
    generator = tiny_generator()
    return trace(generator, [domain_of(generator, "sketch")], traced["synthesis"])


@pytest.fixture(scope="module")
def exploding() -> Traced:
    """Two faults: a channel beyond fp16 between two layers, the second of which takes no notice of
    it, and a layer with huge styles, which demodulation undoes."""
    generator = tiny_generator()
    layers = generator.synthesis.layers
    with torch.no_grad():
        layers["b8_conv0"].bias[3] = 6e4
        layers["b8_conv1"].affine.weight[3] = 0
        layers["b8_conv1"].affine.bias[3] = 0
        layers["b16_conv1"].affine.bias += 1e5
    return trace(generator, [], None)


def test_every_layer_is_measured_and_held(sound: Traced) -> None:
    found, half = sound.in_half()
    table = tiny_generator().table
    assert set(found.largest) == {layer.name for layer in table.layers}
    assert found.samples == 5 and found.beyond == ()
    single = sound.in_single()
    for name in ("image", "image_float"):
        require(half[name], single[name], FP16, name)
    assert difference(half["image_float"], single["image_float"]).max_abs > 1e-5, "it is in fp16"


def test_the_rule_saves_layers_that_would_overflow(exploding: Traced) -> None:
    found, half = exploding.in_half()
    assert found.beyond == ("b8.conv0", "b8.conv1")
    assert found.largest["b8.conv0"] > LARGEST
    single = exploding.in_single()["image_float"]
    require(half["image_float"], single, FP16, "with the rule")
    _, lost = exploding.in_half(keep=False)
    assert not np.isfinite(lost["image_float"]).all()
    with pytest.raises(NumericsError):
        require(lost["image_float"], single, FP16, "without the rule")


def test_scaling_keeps_large_styles_in_range(exploding: Traced) -> None:
    assert "b16.conv1" in exploding.in_half(dense)[0].beyond
    assert "b16.conv1" not in exploding.in_half()[0].beyond


def test_a_layer_at_the_limit_stays_in_fp16() -> None:
    sizes = {"a": LIMIT, "b": np.nextafter(LIMIT, np.inf), "c": float("nan"), "d": float("inf")}
    assert Ranges(1, sizes).beyond == ("b", "c", "d")


def test_latents_and_tokens_are_varied_and_the_same_every_time(parts) -> None:
    roles = role_graphs(parts)
    domains = [domain.tokens for domain in parts.domains.values()]
    cases = list(range_cases("synthesis", roles, parts.generator, domains))
    assert len(cases) == ranges.SAMPLES >= 256
    again = next(iter(range_cases("synthesis", roles, parts.generator, domains)))
    assert all(np.array_equal(again[name], cases[0][name]) for name in again)
    w_plus = np.stack([case["w_plus"][0] for case in cases])
    assert len(np.unique(w_plus[:, 0, 0])) == len(cases)
    mixed = (w_plus[:, :1] != w_plus).any(axis=(1, 2))
    assert 0.4 < mixed.mean() < 0.7, "mixed of two, or inverted pictures"
    refined = np.array([np.abs(case["P"]).max() > 0 for case in cases])
    assert 0.5 <= refined.mean() < 0.6
    assert {case["P"].shape[1] for case in cases} >= {1, 2, 4}, "none, one set, two sets"


def one_node(op_type: str, weight: np.ndarray, **attributes: object) -> onnx.ModelProto:
    text = f"""
    <ir_version: 9, opset_import: ["" : 18]>
    one (float16[N, {", ".join("abc"[: weight.ndim - 1])}] x) => (float16[M, K, H, W] y) {{
        y = {op_type}(x, weight)
    }}
    """
    model = parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    node = model.graph.node[0]
    node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    return model


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [("Conv", {"pads": [1, 1, 1, 1]}), ("ConvTranspose", {"strides": [2, 2]})],
)
def test_emulated_convolutions_sum_in_fp32_and_overflow_in_fp16(op_type, attributes) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 8, 3, 3)).astype(np.float16)
    x = rng.standard_normal((2, 8, 5, 5)).astype(np.float16)
    run = emulate(one_node(op_type, weight, **attributes))
    y = run({"x": x})["y"]
    convolve = torch.nn.functional.conv2d if op_type == "Conv" else None
    convolve = convolve or torch.nn.functional.conv_transpose2d
    how = {"padding": 1} if op_type == "Conv" else {"stride": 2}
    exact = convolve(torch.from_numpy(x).double(), torch.from_numpy(weight).double(), **how).numpy()
    assert y.dtype == np.float16
    # One rounding, to half a unit in the last place of fp16; sums in fp16 would be far worse.
    assert np.all(np.abs(y - exact) <= 2**-11 * np.abs(exact) * 1.01 + 1e-5)
    assert np.isinf(run({"x": x * np.float16(2**14)})["y"]).any()


@pytest.fixture
def bundle(checkpoints, tmp_path, quick, monkeypatch):
    """A generator exported for all targets; a dozen latents are enough to measure."""
    monkeypatch.setattr(ranges, "SAMPLES", 12)
    out = tmp_path / "bundle"
    file = checkpoints / "generator.safetensors"
    arguments = ("--model=generator", "--fp16", "--target=all", "--checkpoint", file)
    assert rs_export(*arguments, "--out", out) == 0
    return read_bundle(out)


def test_gpus_compute_in_fp16_and_cpus_never(bundle) -> None:
    bundle.verify()
    role = bundle.manifest.roles["synthesis"]
    chosen = {p: choose_variant("synthesis", role, p) for p in ("cuda", "cpu", "openvino")}
    assert (chosen["cuda"].precision, chosen["cuda"].form) == ("fp16", "dense")
    assert chosen["cuda"].batch == "dynamic"
    assert chosen["cpu"].form == chosen["openvino"].form == "cpu"
    assert {"fp16_stored"} == {chosen[p].precision for p in ("cpu", "openvino")}
    proof = bundle.manifest.parity["synthesis"]
    for numbers in proof["onnxruntime fp16 dense"]["outputs"].values():
        assert numbers["psnr_db"] >= 40
    measured = proof["fp16 ranges"]
    assert measured["samples"] == 12 and measured["limit"] == LIMIT == 65504 / 4
    assert measured["fp32_layers"] == []
    table = bundle.manifest.layer_table
    assert set(measured["largest"]) == {layer.name for layer in table.layers}
    graph = onnx.load_from_string(bundle.read(chosen["cuda"].file))
    assert {value.type.tensor_type.elem_type for value in graph.graph.input} == {
        onnx.TensorProto.FLOAT
    }
    kinds = {t.name: t.data_type for t in graph.graph.initializer}
    for conv in table.convs:
        assert kinds[f"{conv.name}.weight.half"] == onnx.TensorProto.FLOAT16
        assert kinds[f"{conv.name}.tap_squares"] == onnx.TensorProto.FLOAT
    read = {name for node in graph.graph.node for name in node.input}
    made = {name for node in graph.graph.node for name in node.output}
    assert made - read == {"image"}, "nothing is stored or computed for nobody"
