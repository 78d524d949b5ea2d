"""A bundle whose synthesis is split at a feature map: proven by parts, together, and in use."""

from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import rs_runtime
from rs_export.cases import fixed_cases
from rs_export.compare import FP16, FP32, require
from rs_export.export import export_model, role_graphs
from rs_export.forms import dense_normalised, expand, refined_convs
from rs_export.half import compute_in_half, map_nodes
from rs_export.half_emulation import emulate
from rs_export.pack import pack
from rs_export.parity import cases_of, check_layers, check_parts, layer_values, run_graph
from rs_export.parser_input import for_bodies
from rs_export.plugin_bodies import DOMAIN
from rs_export.portable import finish
from rs_export.ranges import range_cases
from rs_export.sources import Parts, find_sources, load_parts
from rs_export.tensorrt_graph import plugin_graph
from rs_runtime.contracts.errors import IncompatibleError, NumericsError
from rs_runtime.engines.select import installed
from rs_runtime.mixing import mix
from rs_train.checkpoint import save_model
from rs_train.generator import PackedTokens
from rs_train.inverters.feature_shift import FeatureShift, FeatureShiftConfig
from rs_train.inverters.feature_style import FeatureStyle, FeatureStyleConfig, FeatureStyleEncoder
from rs_train.inverters.feature_style import draw as draw_features
from tests.export.test_export import perturbed
from tests.export.tiny_model import save_checkpoints as save_two_stage
from tests.export.tiny_model import short_trunk, tiny_generator

SPLIT = 3
PARTS = ("synthesis_lower", "feature_shift", "synthesis_upper")


def save_checkpoints(folder: Path, **changes: object) -> None:
    """Random networks around the tiny generator; the domains of the tiny two-stage model."""
    save_two_stage(folder)
    generator = tiny_generator()
    reader = generator.table.convs[SPLIT]
    side = reader.resolution // reader.up
    config = FeatureStyleConfig(
        image_size=8 * side,
        num_ws=generator.num_ws,
        w_dim=16,
        channels=(8, 8, 12, 16),
        gated=True,
        layer=SPLIT,
        feature_side=side,
        feature_channels=reader.in_channels,
    )
    encoder = FeatureStyleEncoder(config)
    settings = {"layer": SPLIT, "feature_channels": reader.in_channels, "hidden": 20}
    shift = FeatureShift(FeatureShiftConfig(**settings | changes))
    with torch.no_grad():
        encoder.latent_avg.copy_(generator.latent_avg)
        for norm in (*shift.editor[-1].downsample[1:], shift.editor[-1].bn3):
            norm.weight.fill_(0.3)  # it begins with nothing
    record = {"licence": "CC0-1.0"}
    save_model(folder / "feature_encoder.safetensors", encoder, record)
    save_model(folder / "feature_shift.safetensors", shift, record)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feature_shift")
    with short_trunk():
        save_checkpoints(folder)
    return folder


@pytest.fixture(scope="module")
def parts(checkpoints) -> Parts:
    with short_trunk():
        return load_parts(find_sources("feature_shift", [checkpoints]))


@pytest.fixture(scope="module")
def bundle(checkpoints, parts, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "features"
    with short_trunk():
        exported = export_model(parts, fp16=False, progress=lambda line: None)
        sources = find_sources("feature_shift", [checkpoints])
        pack(out, sources, parts, exported, "tests")
    return out


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (70, 66, 3), np.uint8) for _ in range(3)]


def test_every_part_is_proven(bundle: Path) -> None:
    manifest = rs_runtime.load(bundle).manifest
    assert manifest.model == "feature_shift" and manifest.reconstruction is None
    assert {"mapping", *PARTS} < set(manifest.roles)
    convs = {conv.name for conv in manifest.layer_table.convs}
    for role, outputs in (
        ("synthesis_lower", {"feature", "rgb"}),
        ("synthesis_upper", {"image_float"}),
    ):
        variants = manifest.roles[role].variants
        forms = {(v.form, v.batch) for v in variants if v.engine == "onnxruntime"}
        assert forms == {("cpu", 1), ("dense", "dynamic")}
        for pair in ("graph_pytorch", "graph_oracle", "pytorch_oracle"):
            layers = set(manifest.parity[role]["fp32"]["layers"][pair])
            assert outputs < layers and layers - outputs <= convs
            convs -= layers if pair == "pytorch_oracle" else set()
    assert not convs, "every convolution is in one of the parts"
    for proof in ("inversion", "both parts of the synthesis"):
        for numbers in manifest.parity[proof].values():
            assert numbers["image_float"]["psnr_db"] > 38
    assert {golden.role for golden in manifest.golden} == set(manifest.roles)


def by_pytorch(parts: Parts, found: FeatureStyle, mixes: list) -> np.ndarray:
    """What a batch looks like in its domains, computed by the training code."""
    domains = [[(parts.domains[name].tokens, strength) for name, strength in own] for own in mixes]
    packed = mix(domains, parts.generator.table)
    tokens = PackedTokens(*map(torch.from_numpy, packed))
    encoder, shift = parts.others["feature_encoder"], parts.others["feature_shift"]
    synthesis = parts.generator.synthesis
    with torch.inference_mode():
        image = draw_features(synthesis, encoder, found, tokens, move=shift.edit)
    return image.numpy()


@pytest.mark.parametrize("provider", ["cpu", "openvino", "native"])
def test_a_mixed_batch_is_what_training_draws(
    provider: str, bundle: Path, parts: Parts, photos: list
) -> None:
    if provider not in installed()[0]:
        pytest.skip(f"no {provider} here")
    runtime = rs_runtime.load(bundle, provider=provider, threads=1)
    batch = runtime.invert(photos, check=False)
    found = FeatureStyle(torch.from_numpy(batch.w_plus), torch.from_numpy(batch.feature))
    image = torch.from_numpy(batch.input).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        expected = parts.others["feature_encoder"](image)
    for own, other in zip(found, expected, strict=True):
        require(own.numpy(), other.numpy(), FP32, "the encoder")
    mixes = [[("sketch", 1.0)], [("oil", 0.5), ("sketch", -0.5)], []]
    levels = np.clip((by_pytorch(parts, found, mixes) + 1) * 127.5, 0, 255)
    pictures = batch.synthesize(mixes)
    assert np.abs(pictures.transpose(0, 3, 1, 2) - levels).max() <= 1.01
    assert np.abs(pictures[0].astype(int) - batch.reconstruction[0]).max() > 5
    alone = runtime.invert(photos[1], check=False).synthesize(mixes[1])
    assert np.abs(alone.astype(int) - pictures[1]).max() <= 1


@pytest.mark.parametrize("split", [1, 4])
def test_any_split_gives_graphs(split: int) -> None:
    from rs_export.graphs.synthesis import synthesis_role
    from rs_export.graphs.synthesis_lower import synthesis_lower_role
    from rs_export.graphs.synthesis_upper import synthesis_upper_role

    generator = tiny_generator()
    whole = synthesis_role(generator)
    rng = np.random.default_rng(split)
    example = {name: value.numpy() for name, value in whole.example.items()}
    inputs = {
        name: (value + 0.1 * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in example.items()
    }
    runs, nodes = {}, []
    for role in (synthesis_lower_role(generator, split), synthesis_upper_role(generator, split)):
        traced = role.intermediate()
        nodes += [conv.layer for conv in refined_convs(traced)]
        graph = finish(expand(traced), role.name).SerializeToString()
        runs[role.name] = lambda own, name=role.name, graph=graph: run_graph(name, graph, own)
    assert nodes == [conv.name for conv in generator.table.convs]
    check_parts(runs, cases_of(whole, [inputs]), FP32)


def test_a_wrong_constant_in_a_part_is_found(parts: Parts) -> None:
    roles = role_graphs(parts)
    cases = fixed_cases(roles, parts.generator)
    for name, layer in (("synthesis_lower", "b8.conv1"), ("synthesis_upper", "b32.conv0")):
        traced = finish(expand(roles[name].intermediate()), name)
        wrong = perturbed(traced, f"{layer}.weight", 1.01)
        with pytest.raises(NumericsError, match=f"graph_pytorch {layer} is beyond"):
            check_layers(wrong, layer_values(roles[name], cases[name][-1]), FP32)


@pytest.mark.parametrize("name", ["synthesis_lower", "synthesis_upper"])
def test_parts_compute_in_half_and_take_and_give_single(name: str, parts: Parts) -> None:
    roles = role_graphs(parts)
    intermediate = roles[name].intermediate()
    flat = expand(intermediate, dense_normalised)
    half = finish(compute_in_half(flat, map_nodes(flat, refined_convs(intermediate))), name)
    types = {v.type.tensor_type.elem_type for v in (*half.graph.input, *half.graph.output)}
    assert types <= {onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8}
    domains = [domain.tokens for domain in parts.domains.values()]
    (inputs,) = islice(range_cases(name, roles, parts.generator, domains), 1)
    found, expected = emulate(half)(inputs), roles[name].reference(inputs)
    for output in roles[name].outputs:
        require(found[output], expected[output], FP16, output)


@pytest.mark.parametrize("changes", [{"layer": SPLIT + 1}, {"residual": True}])
def test_a_shift_of_another_map_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    save_checkpoints(tmp_path, **changes)
    with pytest.raises(IncompatibleError, match="another feature map"):
        load_parts(find_sources("feature_shift", [tmp_path]))


@pytest.mark.parametrize("name", ["synthesis_lower", "synthesis_upper"])
def test_parts_compute_in_half_in_plugins(name: str, parts: Parts) -> None:
    """What a GPU of fp16 gets: nodes of the plugin among nodes in fp16, outputs in fp32."""
    roles = role_graphs(parts)
    intermediate = roles[name].intermediate()
    plugins = plugin_graph(intermediate, rank=2)
    held = map_nodes(plugins, refined_convs(intermediate))
    model = finish(compute_in_half(plugins, held), name, domain=DOMAIN)
    inputs = fixed_cases(roles, parts.generator)[name][-1]
    found, expected = emulate(for_bodies(model))(inputs), roles[name].reference(inputs)
    for output in roles[name].outputs:
        require(found[output], expected[output], FP16, output)


@pytest.mark.parametrize("name", ["synthesis_lower", "synthesis_upper"])
def test_parts_end_their_layers_in_plugins(name: str, parts: Parts) -> None:
    """The graph for TensorRT, its plugins replaced by the functions in the file."""
    roles = role_graphs(parts)
    intermediate = roles[name].intermediate()
    model = finish(plugin_graph(intermediate, rank=2), name, domain=DOMAIN)
    convs = len(refined_convs(intermediate))
    assert sum(node.domain == DOMAIN for node in model.graph.node) == convs
    inputs = fixed_cases(roles, parts.generator)[name][-1]
    found = run_graph(name, for_bodies(model).SerializeToString(), inputs)
    for output, expected in roles[name].reference(inputs).items():
        require(found[output], expected, FP32, output)
