"""Encoders of pSp-type files compute what their own tensors say, written out again here."""

import argparse

import pytest
import torch
import torch.nn.functional as F

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_train.importers.convert import import_models
from tests.train.importers import genuine

FAMILIES = ("psp", "e4e", "restyle", "style_transformer")


def saved(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / "file.pt")
    return tmp_path / "file.pt"


@pytest.fixture
def checkpoint(request):
    return genuine.checkpoint(request.param, genuine.small(genuine.shapes_of(request.param)))


def norm(state, name, x):
    parts = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts)


def trunk(state, x):
    """The three maps of an IR-SE50, straight from the file's names."""
    x = F.conv2d(x, state["input_layer.0.weight"], padding=1)
    x = F.prelu(norm(state, "input_layer.1", x), state["input_layer.2.weight"])
    taps = []
    for unit in range(24):
        stride = 2 if unit in (0, 3, 7, 21) else 1
        part = f"body.{unit}.res_layer"
        y = F.conv2d(norm(state, f"{part}.0", x), state[f"{part}.1.weight"], padding=1)
        y = F.prelu(y, state[f"{part}.2.weight"])
        y = F.conv2d(y, state[f"{part}.3.weight"], padding=1, stride=stride)
        y = norm(state, f"{part}.4", y)
        gate = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), state[f"{part}.5.fc1.weight"]))
        y = y * F.conv2d(gate, state[f"{part}.5.fc2.weight"]).sigmoid()
        if f"body.{unit}.shortcut_layer.0.weight" in state:
            x = F.conv2d(x, state[f"body.{unit}.shortcut_layer.0.weight"], stride=stride)
            x = norm(state, f"body.{unit}.shortcut_layer.1", x)
        else:
            x = F.max_pool2d(x, 1, stride)
        x = x + y
        if unit in (6, 20, 23):
            taps.append(x)
    return taps


def pyramid(state, x):
    fine, medium, coarse = trunk(state, x)
    levels = [coarse]
    for name, tap in (("latlayer1", medium), ("latlayer2", fine)):
        up = F.interpolate(levels[-1], tap.shape[2:], mode="bilinear", align_corners=True)
        levels.append(up + F.conv2d(tap, state[f"{name}.weight"], state[f"{name}.bias"]))
    return levels


def head(state, row, x):
    for conv in range(0, 12, 2):
        name = f"styles.{row}.convs.{conv}"
        if f"{name}.weight" in state:
            x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, 1)
            x = F.leaky_relu(x, 0.01)
    weight, bias = (state[f"styles.{row}.linear.{p}"] for p in ("weight", "bias"))
    return F.linear(x.flatten(1), weight * weight.shape[1] ** -0.5, bias)


def expected_w_plus(family, checkpoint, picture, imported):
    state = checkpoint["state_dict"]
    state = {k.replace("module.", ""): v for k, v in state.items() if k.startswith("encoder.")}
    state = {k.removeprefix("encoder."): v for k, v in state.items()}
    average = checkpoint["latent_avg"]
    if family == "style_transformer":
        tokens = imported.generator.mapping_network(state["z"][0]).unsqueeze(1)
        tokens = tokens.expand(-1, len(picture), -1)
        for name, level in zip(("coarse", "medium", "fine"), pyramid(state, picture), strict=True):
            layer = torch.nn.TransformerDecoderLayer(32, 4, 64).eval()
            prefix = f"transformerlayer_{name}."
            layer.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
            tokens = layer(tokens, level.flatten(2).permute(2, 0, 1))
        return tokens.permute(1, 0, 2) + average
    maps = [trunk(state, picture)[2]] * 3 if family == "restyle" else pyramid(state, picture)
    levels = [0] * 3 + [1] * 4 + [2] * 3
    rows = torch.stack([head(state, row, maps[levels[row]]) for row in range(10)], 1)
    if family == "e4e":
        rows[:, 1:] += rows[:, :1].clone()
    return rows + average


@pytest.mark.parametrize("checkpoint", FAMILIES, indirect=True, ids=FAMILIES)
@torch.no_grad()
def test_the_encoder_computes_what_its_project_does(tmp_path, checkpoint, request):
    family = request.node.callspec.id
    imported = import_models(saved(tmp_path, checkpoint))
    assert (imported.source.family, imported.encoder.kind) == (family, family)
    assert imported.generator.config.resolution == 64
    picture = torch.rand(2, 6 if family == "restyle" else 3, 256, 256) * 2 - 1
    expected = expected_w_plus(family, checkpoint, picture, imported)
    if family == "restyle":
        start = imported.encoder.latent_avg.expand(2, -1, -1)
        found = imported.encoder(picture[:, :3], picture[:, 3:], start)
    else:
        found = imported.encoder(picture)
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("checkpoint", ["style_transformer"], indirect=True)
@torch.no_grad()
def test_the_encoder_of_cars_has_more_queries_than_rows(tmp_path, checkpoint):
    state = checkpoint["state_dict"]
    state["encoder.module.z"] = torch.randn(1, 12, 32)
    for key in [key for key in state if key.startswith("decoder.module.")]:
        state[key.replace("module.", "")] = state.pop(key)  # of cars alone, not wrapped
    checkpoint["opts"]["dataset_type"] = "cars_encode"
    imported = import_models(saved(tmp_path, checkpoint))
    config = imported.encoder.config
    assert (config.num_ws, config.spare_queries, config.image_height) == (10, 2, 192)
    picture = torch.rand(2, 3, 256, 256) * 2 - 1
    rows = expected_w_plus("style_transformer", checkpoint, picture[:, :, 32:224], imported)
    torch.testing.assert_close(imported.encoder(picture), rows[:, :10], atol=1e-4, rtol=1e-4)
    state["encoder.module.z"] = torch.randn(1, 9, 32)
    assert "9 rows" in import_models(saved(tmp_path, checkpoint)).notes[0]


@pytest.mark.parametrize("checkpoint", ["psp"], indirect=True)
def test_the_generator_is_the_one_of_its_own_project(tmp_path, checkpoint):
    alone = genuine.rosinality(genuine.small(genuine.shapes_of("psp")))
    torch.save(alone, tmp_path / "alone.pt")
    inside = import_models(saved(tmp_path, checkpoint))
    assert (
        inside.generator.fingerprint()
        == import_models(tmp_path / "alone.pt").generator.fingerprint()
    )
    assert torch.equal(inside.generator.latent_avg, checkpoint["latent_avg"][0])


@pytest.mark.parametrize("checkpoint", ["psp"], indirect=True)
def test_options_as_a_namespace_and_training_state_are_read(tmp_path, checkpoint):
    checkpoint["opts"] = argparse.Namespace(**checkpoint["opts"])
    checkpoint |= {"global_step": 5, "best_val_loss": torch.tensor(1.0), "optimizer": {"state": {}}}
    checkpoint["state_dict"]["encoder_discriminator.weight"] = torch.ones(1)
    assert import_models(saved(tmp_path, checkpoint)).encoder.kind == "psp"


@pytest.mark.parametrize("checkpoint", ["e4e"], indirect=True)
def test_where_a_file_does_not_say_the_user_does(tmp_path, checkpoint):
    del checkpoint["opts"]
    path = saved(tmp_path, checkpoint)
    with pytest.raises(MalformedFileError) as error:
        import_models(path)
    assert "--family" in error.value.hint
    assert import_models(path, "e4e").encoder.kind == "e4e"
    assert import_models(path, "psp").encoder.kind == "psp"


@pytest.mark.parametrize("checkpoint", ["e4e"], indirect=True)
def test_options_of_the_training_reach_the_encoder(tmp_path, checkpoint):
    checkpoint["opts"] |= {"dataset_type": "cars_encode", "start_from_latent_avg": False}
    encoder = import_models(saved(tmp_path, checkpoint)).encoder
    assert encoder.config.image_height == 192
    assert not encoder.latent_avg.any()


@pytest.mark.parametrize("checkpoint", ["psp"], indirect=True)
def test_a_missing_latent_avg_is_the_generators(tmp_path, checkpoint):
    del checkpoint["latent_avg"]
    imported = import_models(saved(tmp_path, checkpoint))
    assert imported.generator.latent_avg.any()
    assert torch.equal(imported.encoder.latent_avg[3], imported.generator.latent_avg)
    assert "computed" in imported.notes[0]


@pytest.mark.parametrize("checkpoint", ["restyle"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "progressive"),
    [("ProgressiveBackboneEncoder", True), ("BackboneEncoder", False), (None, None)],
)
def test_both_encoders_of_restyle(tmp_path, checkpoint, kind, progressive):
    checkpoint["opts"]["encoder_type"] = kind
    imported = import_models(saved(tmp_path, checkpoint))
    if kind is None:
        assert imported.encoder is None
        assert "does not say" in imported.notes[0]
    else:
        assert imported.encoder.config.progressive is progressive
        assert imported.encoder.config.iterations == 5


def _sketch(state):
    state["encoder.input_layer.0.weight"] = torch.zeros(4, 1, 3, 3)


def _resnet(state):
    state["encoder.conv1.weight"] = state.pop("encoder.input_layer.0.weight")


def _rows(state):
    for key in [key for key in state if key.startswith("encoder.styles.9.")]:
        del state[key]


@pytest.mark.parametrize("checkpoint", ["psp"], indirect=True)
@pytest.mark.parametrize(
    ("change", "found"),
    [(_sketch, "1 input channels"), (_resnet, "another backbone"), (_rows, "9 rows")],
)
def test_an_encoder_of_another_kind_leaves_the_generator(tmp_path, checkpoint, change, found):
    change(checkpoint["state_dict"])
    imported = import_models(saved(tmp_path, checkpoint))
    assert imported.encoder is None
    assert found in imported.notes[0]


@pytest.mark.parametrize("checkpoint", ["psp"], indirect=True)
@pytest.mark.parametrize("key", ["encoder.extra", "encoder.body.3.extra"])
def test_tensors_that_are_unknown_or_missing_are_named(tmp_path, checkpoint, key):
    checkpoint["state_dict"][key] = torch.ones(1)
    with pytest.raises(MalformedFileError) as error:
        import_models(saved(tmp_path, checkpoint))
    assert "extra" in error.value.found
    del checkpoint["state_dict"][key], checkpoint["state_dict"]["encoder.latlayer1.bias"]
    with pytest.raises(MalformedFileError) as error:
        import_models(saved(tmp_path, checkpoint))
    assert "lateral_medium.bias" in error.value.found


def test_a_hypernetwork_is_known_and_refused(tmp_path):
    path = saved(tmp_path, {"state_dict": {"hypernet.a": torch.ones(1)}})
    with pytest.raises(IncompatibleError, match="HyperStyle"):
        import_models(path)
