"""Public networks of the losses, on files of genuine format with random weights."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_runtime.contracts.errors import MalformedFileError, UnsafeFileError, UsageError
from rs_train.losses.lpips import lpips_loss
from rs_train.losses.moco import moco_loss
from rs_train.perceptual import ir_se50
from rs_train.perceptual.ir_se50 import IRSE50, load_ir_se50
from rs_train.perceptual.lpips import Lpips
from rs_train.perceptual.moco import Moco
from rs_train.perceptual.public_weights import read_state
from rs_train.perceptual.torchvision_shim import missing_torchvision_operators_ignored
from rs_train.tasks.image_losses import load_loss_networks

PUBLIC_NAMES = (
    ("trunk.", ""), ("residual.5.reduce", "res_layer.5.fc1"),
    ("residual.5.expand", "res_layer.5.fc2"), ("residual.", "res_layer."),
    ("projection.", "shortcut_layer."), ("norm_output.", "output_layer.4."),
    ("norm.", "output_layer.0."), ("linear.", "output_layer.3."),
)  # fmt: skip


def torchvision_model(name: str) -> nn.Module:
    with missing_torchvision_operators_ignored():
        from torchvision import models
    return getattr(models, name)(weights=None).eval()


def public_name(name: str) -> str:
    for own, public in PUBLIC_NAMES:
        name = name.replace(own, public)
    return name


@pytest.fixture
def narrow(monkeypatch) -> None:
    monkeypatch.setattr(ir_se50, "CHANNELS", (4, 8, 8, 16))


@pytest.fixture
def face_file(narrow, tmp_path) -> tuple[IRSE50, Path]:
    torch.manual_seed(0)
    network = IRSE50().eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    path = tmp_path / "model_ir_se50.pth"
    torch.save({public_name(k): v for k, v in network.state_dict().items()}, path)
    return network, path


def test_the_face_network_is_read_from_its_public_file(face_file):
    network, path = face_file
    assert "body.0.res_layer.5.fc1.weight" in read_state(path)
    assert "output_layer.3.weight" in read_state(path)
    image = torch.randn(2, 3, 256, 256)
    found = load_loss_networks(None, {"identity": path}).identity.embed(image)
    assert torch.allclose(found, network.embed(image), atol=1e-5)
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)


@torch.no_grad()
def test_the_face_network_sees_the_middle_of_an_aligned_face(face_file):
    network, _ = face_file
    image = torch.randn(1, 3, 256, 256)
    face = F.adaptive_avg_pool2d(image[:, :, 35:223, 32:220], (112, 112))
    flat = network.norm(network.trunk(face).sixteenth).flatten(1)
    expected = F.normalize(network.norm_output(network.linear(flat)))
    assert torch.allclose(network.embed(image), expected, atol=1e-6)
    outside = image.clone()
    outside[:, :, :35] = outside[:, :, 223:] = outside[..., :32] = outside[..., 220:] = 9
    assert torch.equal(network.embed(outside), network.embed(image))
    large = F.interpolate(image, scale_factor=2, mode="nearest")
    assert torch.allclose(network.embed(large), expected, atol=1e-5)


def test_lpips_is_its_equation_on_alexnet(tmp_path):
    torch.manual_seed(0)
    alexnet = torchvision_model("alexnet")
    torch.save(alexnet.state_dict(), tmp_path / "alexnet.pth")
    lpips = load_loss_networks(None, {"lpips": tmp_path / "alexnet.pth"}).lpips
    a, b = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]

    def maps(x: Tensor) -> list[Tensor]:
        x, found = (x - shift) / scale, []
        for index, layer in enumerate(alexnet.features):
            x = layer(x)
            if index in (1, 4, 7, 9, 11):
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    expected = torch.zeros(2)
    for level, (x, y) in enumerate(zip(maps(a), maps(b), strict=True)):
        weight = lpips.network.lins[level].model[1].weight
        assert (weight >= 0).all() and weight.std() > 0  # the published heads
        expected += F.conv2d((x - y).square(), weight).mean((1, 2, 3))
    assert torch.allclose(lpips(a, b), expected, rtol=1e-4)
    a.requires_grad_(True)
    b.requires_grad_(True)
    loss = lpips_loss(lpips, a, b)
    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-4)
    loss.backward()
    assert a.grad.any() and b.grad is None


@pytest.mark.nightly
@torch.no_grad()
def test_vgg_gives_lpips_and_its_maps(tmp_path):
    torch.manual_seed(0)
    vgg = torchvision_model("vgg16")
    torch.save(vgg.state_dict(), tmp_path / "vgg.pth")
    lpips = Lpips(tmp_path / "vgg.pth", "vgg")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = ((image + 1) / 2 - mean) / std
    maps = lpips.features(image)
    for last, found in zip((3, 8, 15, 22, 29), maps, strict=True):
        assert torch.allclose(vgg.features[: last + 1](x), found, atol=1e-4)
    assert lpips(image, image).item() == 0 < lpips(image, image.flip(3)).item()


def test_moco_is_the_published_resnet_without_its_head(tmp_path):
    torch.manual_seed(0)
    resnet = torchvision_model("resnet50")
    state = {f"module.encoder_q.{k}": v for k, v in resnet.state_dict().items()}
    torch.save({"epoch": 800, "arch": "resnet50", "state_dict": state}, tmp_path / "moco.pth.tar")
    moco = load_loss_networks(None, {"moco": tmp_path / "moco.pth.tar"}).moco
    resnet.fc = nn.Identity()
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = F.normalize(resnet(F.interpolate(image, (224, 224), mode="nearest")))
    assert torch.allclose(moco.embed(image), expected, atol=1e-5)
    prediction = image.flip(0).requires_grad_(True)
    loss = moco_loss(moco, prediction, image)
    cosine = (expected * expected.flip(0)).sum(1).mean().item()
    assert loss.item() == pytest.approx(1 - cosine, abs=1e-5)
    loss.backward()
    assert prediction.grad.any()


class _Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_what_is_not_weights_is_refused(narrow, tmp_path, capsys):
    cases = {"evil": {"a": _Evil()}, "list": [1, 2], "other": {"weight": torch.zeros(2)}}
    for name, content in cases.items():
        torch.save(content, tmp_path / name)
    (tmp_path / "text").write_text("not found")
    with pytest.raises(UnsafeFileError) as refused:
        read_state(tmp_path / "evil")
    assert refused.value.found == "print"
    assert capsys.readouterr().out == ""
    with pytest.raises(MalformedFileError, match="no state dict"):
        read_state(tmp_path / "list")
    with pytest.raises(MalformedFileError, match=r"not a file of torch\.save"):
        read_state(tmp_path / "text")
    (tmp_path / "cut").write_bytes((tmp_path / "other").read_bytes()[:200])
    with pytest.raises(MalformedFileError, match="damaged"):
        read_state(tmp_path / "cut")
    with pytest.raises(UsageError):
        read_state(tmp_path / "absent")
    for load in (load_ir_se50, Lpips, Moco):
        with pytest.raises(MalformedFileError, match="its tensors are not those of"):
            load(tmp_path / "other")
