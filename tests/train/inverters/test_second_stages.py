"""HyperStyle and HFGI: what they change and learn from; reconstruction by every system."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.checkpoint import load_model, save_model
from rs_train.generator import PackedTokens
from rs_train.generator.conditioned import with_fused_features, with_kernel_deltas
from rs_train.generator.refined_conv import refined_conv
from rs_train.inverters import HyperStyle, HyperStyleConfig
from rs_train.inverters.base import first_latent
from rs_train.inverters.build import Network, build
from rs_train.inverters.reconstruct import load_system, reconstruct
from rs_train.loop import LoopConfig
from rs_train.perceptual.resnet34 import read_resnet34
from rs_train.tasks.inverter import InverterRun, InverterTraining
from rs_train.tasks.inverters import TASKS

NETWORK = Network(
    image_size=32, channels=(8, 8, 8, 16), heads=2, rank=3, token_scale_init=0.1, iterations=2
)
TRAINING = InverterTraining(optimizer="adam", lr=0.003, precision="fp32", alignment=0.1)
PHOTOS = torch.linspace(-1, 1, 4 * 3 * 32 * 32).reshape(4, 3, 32, 32).mul(5).sin()


@pytest.fixture
def psp(generator) -> nn.Module:
    """An untrained base inverter."""
    torch.manual_seed(3)
    return build("psp", NETWORK, generator.config).eval()


def task_of(model: str, generator, base: nn.Module, out: Path = Path("out"), **options):
    training = options.pop("training", TRAINING)
    config = InverterRun(network=NETWORK, training=training, loop=LoopConfig(steps=100))
    return TASKS[model](config, copy.deepcopy(generator), out, base=base, **options)


def test_one_kernel_a_sample_equals_one_call_a_sample():
    torch.manual_seed(0)
    x, style = torch.randn(3, 4, 8, 8), torch.randn(3, 4)
    kernels = torch.randn(3, 5, 4, 3, 3)
    for up in (1, 2):
        whole = refined_conv(x, kernels, style, up=up)
        for n in range(3):
            alone = refined_conv(x[n : n + 1], kernels[n], style[n : n + 1], up=up)
            assert torch.allclose(whole[n : n + 1], alone, atol=1e-5)


def test_kernel_deltas_scale_every_convolution_and_leave_the_network_alone(generator):
    synthesis = generator.synthesis
    w_plus = generator.broadcast(torch.randn(2, 16))
    convs = synthesis.table.convs
    deltas = [torch.zeros(2, conv.out_channels, conv.in_channels, 1, 1) for conv in convs]
    plain = synthesis(w_plus)
    assert torch.allclose(with_kernel_deltas(synthesis, w_plus, deltas), plain, atol=1e-5)
    for index, conv in enumerate(convs):
        changed = [torch.zeros_like(delta) for delta in deltas]
        changed[index] = 0.5 * torch.randn(2, conv.out_channels, conv.in_channels, 3, 3)
        image = with_kernel_deltas(synthesis, w_plus, changed)
        for n in range(2):
            other = copy.deepcopy(synthesis)
            other.layers[conv.name.replace(".", "_")].weight.mul_(1 + changed[index][n])
            assert torch.allclose(image[n : n + 1], other(w_plus[n : n + 1]), atol=1e-4)
    assert torch.equal(synthesis(w_plus), plain)


def test_features_are_fused_at_their_own_resolution_only_during_the_call(generator):
    synthesis = generator.synthesis
    w_plus = generator.broadcast(torch.randn(2, 16))
    plain = synthesis(w_plus)
    zeros = torch.zeros(2, 16, 8, 8)
    assert torch.equal(with_fused_features(synthesis, w_plus, zeros, zeros), plain)
    changed = with_fused_features(synthesis, w_plus, zeros, torch.ones(2, 16, 8, 8))
    assert not torch.allclose(changed, plain, atol=1e-3)
    with pytest.raises(RuntimeError):
        with_fused_features(synthesis, w_plus, zeros[:, :3], zeros[:, :3])
    assert torch.equal(synthesis(w_plus), plain)


def test_hyperstyle_predicts_full_kernels_where_they_are_widest():
    torch.manual_seed(0)
    convs = ((16, 16), (16, 16), (16, 8), (8, 8))
    model = HyperStyle(HyperStyleConfig(64, None, convs, (8, 8, 8, 16), 2)).eval()
    deltas = model(torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64))
    assert [tuple(delta.shape[1:]) for delta in deltas] == [
        (16, 16, 3, 3), (16, 16, 3, 3), (8, 16, 1, 1), (8, 8, 1, 1),
    ]  # fmt: skip


def test_looks_add_up(generator, psp):
    model = build("hyperstyle", NETWORK, generator.config).eval()
    with torch.no_grad():
        w_plus = first_latent(psp, PHOTOS, generator.synthesis)
        first = generator.synthesis(w_plus)
        one, two = model.steps(PHOTOS, w_plus, first, generator.synthesis)
        deltas = model(PHOTOS, first)
        assert torch.allclose(with_kernel_deltas(generator.synthesis, w_plus, deltas), one)
        both = [a + b for a, b in zip(deltas, model(PHOTOS, one), strict=True)]
        found = with_kernel_deltas(generator.synthesis, w_plus, both)
    assert torch.allclose(found, two, atol=1e-5)


@pytest.mark.parametrize("model", ["two_stage", "hyperstyle", "hfgi"])
def test_a_second_stage_learns_and_is_found_again(model, generator, psp, tmp_path):
    out, base = tmp_path / "second.safetensors", tmp_path / "base.safetensors"
    save_model(base, psp)
    save_model(tmp_path / "generator.safetensors", generator)
    task = task_of(model, generator, psp, out)
    frozen = [p.clone() for p in (*task.generator.parameters(), *task.base.parameters())]
    first = task.step(0, {"image": PHOTOS})["l2"]
    last = [task.step(step, {"image": PHOTOS})["l2"] for step in range(1, 20)][-1]
    assert last < 0.8 * first
    after = (*task.generator.parameters(), *task.base.parameters())
    assert all(torch.equal(a, b) for a, b in zip(frozen, after, strict=True))
    task.finish(tmp_path, {})
    task.model.eval()
    with torch.no_grad():
        plain, shown = task.stages(PHOTOS)
    found = reconstruct(PHOTOS, generator, *load_system(base, out))
    assert torch.allclose(found, shown, atol=0.05)  # stored in fp16
    assert torch.allclose(reconstruct(PHOTOS, generator, load_model(base)), plain, atol=1e-4)


def test_hyperstyle_adds_the_losses_of_its_looks(generator, psp):
    task = task_of("hyperstyle", generator, psp)
    task.model.eval()
    with torch.no_grad():
        looks = task.model.steps(PHOTOS, *task.invert(PHOTOS), generator.synthesis)
        expected = sum((image - PHOTOS).square().mean().item() for image in looks)
        assert task.losses(PHOTOS)["l2"].item() == pytest.approx(expected, rel=1e-4)


def test_hfgi_asks_for_the_distortion_as_it_was(generator, psp):
    task = task_of("hfgi", generator, psp)
    task.model.eval()
    task.move = torch.zeros_like
    with torch.no_grad():
        losses = task.losses(PHOTOS)
        _, first = task.invert(PHOTOS)
        shown = first.clamp(-1, 1)
        aligned = task.model(torch.zeros_like(PHOTOS), shown).distortion
    expected = (aligned - (PHOTOS - shown)).abs().mean().item()
    assert losses["alignment"].item() == pytest.approx(expected, rel=1e-4)
    figures = task.step(0, {"image": PHOTOS})
    total = figures["l2"] + 0.1 * figures["alignment"]
    assert figures["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("model", ["hyperstyle", "hfgi"])
def test_bf16_steps_are_finite(model, generator, psp):
    task = task_of(model, generator, psp, training=replace(TRAINING, precision="bf16"))
    assert all(abs(value) < 1e3 for value in task.step(0, {"image": PHOTOS}).values())


@pytest.mark.parametrize("model", ["style_transformer", "psp", "e4e", "restyle", "one_stage"])
def test_every_first_system_reconstructs(model, generator):
    torch.manual_seed(1)
    system = build(model, NETWORK, generator.config).eval()
    found = reconstruct(PHOTOS, generator, system)
    with torch.no_grad():
        if model == "one_stage":
            w_plus, P, Q = system(PHOTOS)
            expected = generator.synthesis(w_plus, PackedTokens(P, Q))
        else:
            expected = generator.synthesis(first_latent(system, PHOTOS, generator.synthesis))
    assert torch.allclose(found, expected, atol=1e-5)


def test_models_that_make_no_system_are_refused(generator, psp, tmp_path):
    for name, model in (("psp", psp), ("generator", generator)):
        save_model(tmp_path / f"{name}.safetensors", model)
    with pytest.raises(IncompatibleError, match="inversion system"):
        load_system(tmp_path / "generator.safetensors")
    with pytest.raises(IncompatibleError, match="inversion system"):
        load_system(tmp_path / "psp.safetensors", tmp_path / "psp.safetensors")


def test_a_generator_without_features_to_fuse_is_refused(generator):
    with pytest.raises(UsageError, match="do not fit together"):
        build("hfgi", replace(NETWORK, image_size=256), generator.config)


def test_hyperstyle_starts_from_torchvisions_resnet34(generator, psp, tmp_path):
    torch.manual_seed(9)
    model = build("hyperstyle", NETWORK, generator.config)
    state = model.trunk.state_dict()
    public = {"fc.weight": torch.zeros(1000, 16), "conv1.weight": torch.randn(8, 3, 7, 7)}
    public["bn1.running_mean"] = torch.randn(8)
    for name, value in state.items():
        if name.startswith("body.") and value.is_floating_point():
            unit, rest = name.removeprefix("body.").split(".", 1)
            stage = next(n for n, end in enumerate((3, 7, 13, 16)) if int(unit) < end)
            place = int(unit) - (0, 3, 7, 13)[stage]
            public[f"layer{stage + 1}.{place}.{rest}"] = torch.randn_like(value)
    torch.save(public, tmp_path / "resnet34.pth")
    trunk = read_resnet34(tmp_path / "resnet34.pth")
    task = task_of("hyperstyle", generator, psp, trunk=trunk)
    started = task.model.trunk.state_dict()
    assert torch.equal(started["input_layer.0.weight"][:, :3], public["conv1.weight"])
    assert torch.equal(started["input_layer.1.running_mean"], public["bn1.running_mean"])
    assert torch.equal(started["body.15.conv2.weight"], public["layer4.2.conv2.weight"])
    assert torch.equal(
        started["body.3.downsample.0.weight"], public["layer2.0.downsample.0.weight"]
    )
    with pytest.raises(UsageError, match="no trunk"):
        task_of("hfgi", generator, psp, trunk=trunk)
