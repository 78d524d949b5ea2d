"""Domains of HyperDomainNet and StyleDomain become token sets that compute the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.tokens import read_token_set
from rs_train.checkpoint import save_model
from rs_train.cli.import_ import command
from rs_train.generator import Generator, GeneratorConfig
from rs_train.generator.refined_conv import refined_conv
from rs_train.generator.synthesis import module_name
from tests.train.importers import genuine


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(16, 16, 12, 8), z_dim=8, w_dim=8, mapping_layers=1)
    return Generator(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def made_for(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_model(path, generator)
    return path


def channels(generator: Generator) -> list[int]:
    return [layer.in_channels for layer in generator.table.convs]


def run(checkpoint: dict[str, Any], made_for: Path | None, out: Path, *more: str) -> str:
    file = out.with_suffix(".pt")
    torch.save(checkpoint, file)
    chosen = () if made_for is None else ("--generator", made_for, "--out", out)
    result = CliRunner().invoke(command, [str(x) for x in (file, *chosen, *more)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def as_its_project_computes(
    patch_key: str, x: torch.Tensor, weight: torch.Tensor, style: torch.Tensor, change: torch.Tensor
) -> torch.Tensor:
    """One sample's convolution: s_delta in front of demodulation, cin_mult behind it."""
    if patch_key == "s_delta":
        style = style + change
    kernel = weight * style[:, None, None]
    kernel = kernel * torch.rsqrt(kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
    if patch_key == "cin_mult":
        kernel = kernel * (1 + change[:, None, None])
    return F.conv2d(x, kernel, padding=1)


@pytest.mark.parametrize("nvidia_names", [False, True])
@pytest.mark.parametrize("patch_key", ["cin_mult", "s_delta"])
def test_a_domain_computes_what_its_project_does(
    generator: Generator, made_for: Path, tmp_path: Path, patch_key: str, nvidia_names: bool
) -> None:
    checkpoint = genuine.offsets(patch_key, channels(generator), nvidia_names=nvidia_names)
    out = tmp_path / "joker.tokens"
    report = json.loads(run(checkpoint, made_for, out, "--licence", "MIT", "--json"))
    assert report["numbers"] == sum(channels(generator))
    tokens = read_token_set(out, table=generator.table, fingerprint=generator.fingerprint())
    assert (tokens.name, tokens.kind, tokens.licence) == ("joker", "domain", "MIT")
    assert report["sha256"] in tokens.source
    group = tokens.style_offset if patch_key == "s_delta" else tokens.modulation
    assert bool(tokens.style_offset) != bool(tokens.modulation)

    changes = [value.flatten() for value in checkpoint["state_dict"].values()]
    for layer, change in zip(generator.table.convs, changes, strict=True):
        module = generator.synthesis.layers[module_name(layer)]
        weight = module.weight * module.weight_gain
        x, style = torch.randn(1, layer.in_channels, 4, 4), torch.randn(1, layer.in_channels)
        given = {report["group"]: torch.from_numpy(group[layer.name])[None]}
        found = refined_conv(x, weight, style, **given)
        expected = as_its_project_computes(patch_key, x, weight, style[0], change)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_what_the_file_does_not_hold_is_said(
    generator: Generator, made_for: Path, tmp_path: Path
) -> None:
    checkpoint = genuine.offsets("s_delta", channels(generator))
    checkpoint |= {"da_type": "im2im_difa", "style_latents": torch.zeros(1, 11, 512)}
    text = run(checkpoint, made_for, tmp_path / "joker.tokens")
    assert "note: its project also gives every head" in text
    assert f"{sum(channels(generator))} numbers of style_offset" in text
    assert "licence: not stated" in text


def test_what_is_no_domain_of_this_generator_is_refused(
    generator: Generator, made_for: Path, tmp_path: Path
) -> None:
    out = tmp_path / "joker.tokens"
    good = genuine.offsets("s_delta", channels(generator))

    def refuse(kind: type[Exception], words: str, checkpoint: dict[str, Any], *more: str) -> None:
        with pytest.raises(kind, match=words):
            run(checkpoint, made_for, out, *more)
        assert not out.exists()

    refuse(IncompatibleError, "other layers", genuine.offsets("s_delta", channels(generator)[:5]))
    wider = [2 * width for width in channels(generator)]
    refuse(IncompatibleError, "other channels", genuine.offsets("s_delta", wider))
    refuse(IncompatibleError, "no token set holds", good | {"patch_key": "cfull_mult"})
    refuse(IncompatibleError, "not those of one domain", good | {"model_type": "mapper"})
    refuse(MalformedFileError, "no heads", good | {"state_dict": {"x": torch.zeros(1)}})
    broken = {k: v * torch.nan for k, v in good["state_dict"].items()}
    refuse(MalformedFileError, "not finite", good | {"state_dict": broken})
    refuse(UsageError, "no images to compare", good, "--verify", "expected.safetensors")
    shapes = genuine.small(genuine.shapes_of("psp"))
    refuse(UsageError, "not a domain", genuine.rosinality(shapes))
    with pytest.raises(UsageError, match="without its generator"):
        run(good, None, out)
