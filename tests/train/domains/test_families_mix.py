"""Tokens, style offsets and modulations mix in one call: runtime, PyTorch and oracle agree."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import rs_runtime
from rs_export.compare import FP16_STORED, FP32, require
from rs_runtime.contracts.tokens import TokenSet, read_token_set
from rs_runtime.mixing import PackedTokens, mix
from rs_runtime.reference import refined_layer
from rs_train.checkpoint import load_model
from rs_train.domains.channels import ModulationParameterisation, StyleSpaceParameterisation
from rs_train.domains.description import DomainDescription
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import Generator, pack
from rs_train.generator.synthesis import module_name

DEMO = Path(__file__).parents[3] / "rs_train/demo/generator.safetensors"
STRENGTHS = {"tokens": 0.7, "style": -1.5, "styles_and_rgb": 1.25, "modulation": 0.8}
SEED = 3


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load_model(DEMO, expect="generator").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def files(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One domain of each kind, visible but not strong."""
    torch.manual_seed(0)
    table = generator.table
    changes = {
        "tokens": TokenParameterisation(table, rank=3, scale_init=0.1),
        "style": StyleSpaceParameterisation(table, torgb=False, first_layer=4),
        "styles_and_rgb": StyleSpaceParameterisation(table, torgb=True),
        "modulation": ModulationParameterisation(table),
    }
    folder = tmp_path_factory.mktemp("domains")
    for name, change in changes.items():
        if name != "tokens":
            torch.nn.init.normal_(change.change, std=0.15)
        about = DomainDescription(name=name, source="random")
        change.write(folder / f"{name}.tokens", generator, about, {"licence": "CC0-1.0"})
    return {name: folder / f"{name}.tokens" for name in changes}


@pytest.fixture(scope="module")
def mixture(generator: Generator, files: Mapping[str, Path]) -> list[tuple[TokenSet, float]]:
    made_for = {"table": generator.table, "fingerprint": generator.fingerprint()}
    return [(read_token_set(path, **made_for), STRENGTHS[name]) for name, path in files.items()]


@pytest.fixture(scope="module")
def w_plus(generator: Generator) -> torch.Tensor:
    """The head that `rs-run synth` draws from the seed."""
    z = np.random.RandomState(SEED).randn(1, generator.config.z_dim).astype(np.float32)
    return generator.broadcast(generator.mapping(torch.from_numpy(z), 0.7))


def by_oracle(generator: Generator, w_plus: np.ndarray, tokens: PackedTokens) -> np.ndarray:
    """The whole synthesis in NumPy, float64: [1, 3, R, R]."""
    table = generator.table
    state = {k: v.double().numpy() for k, v in generator.synthesis.state_dict().items()}
    x, image = state["const"][None], None
    for layer in table.layers:
        name = f"layers.{module_name(layer)}"
        affine = state[f"{name}.affine.weight"] / np.sqrt(table.w_dim)
        given = {
            "weight": state[f"{name}.weight"] / np.sqrt(layer.in_channels * layer.kernel**2),
            "style": w_plus[:, layer.w_index] @ affine.T + state[f"{name}.affine.bias"],
            "style_offset": tokens.style_offset[:, table.style_slices[layer.name]],
            "bias": state[f"{name}.bias"],
        }
        if layer.kind == "torgb":
            rgb = refined_layer(x, **given, demodulate=False, activate=False)
            image = rgb if image is None else _twice_as_large(image) + rgb
            continue
        ins, outs = table.in_slices[layer.name], table.out_slices[layer.name]
        noise = state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
        x = refined_layer(
            x,
            **given,
            P=tokens.P[..., outs],
            Q=tokens.Q[..., ins],
            modulation=tokens.modulation[:, ins],
            up=layer.up,
            noise=noise,
        )
    return image


def _twice_as_large(image: np.ndarray) -> np.ndarray:
    """A layer that does nothing but enlarge: [1, 3, H, W] -> [1, 3, 2 H, 2 W]."""
    same, ones = np.eye(3)[..., None, None], np.ones((1, 3))
    return refined_layer(image, same, ones, up=2, demodulate=False, activate=False)


def test_every_kind_mixes_in_one_call(
    generator: Generator,
    mixture: list[tuple[TokenSet, float]],
    files: Mapping[str, Path],
    w_plus: torch.Tensor,
) -> None:
    packed = mix([mixture], generator.table)
    oracle = by_oracle(generator, w_plus.double().numpy(), packed)
    sets, strengths = zip(*mixture, strict=True)
    drawn = generator.synthesis(w_plus, pack(sets, generator.table, strengths)).numpy()
    require(drawn, oracle.astype(np.float32), FP32, "PyTorch")

    runtime = rs_runtime.load(provider="cpu", threads=1)
    _, image = runtime.synthesize(w_plus.numpy(), packed)
    require(image, drawn, FP16_STORED, "ONNX Runtime")
    named = [f"{path}={STRENGTHS[name]}" for name, path in files.items()]
    whole_way = runtime.synth(SEED, named).astype(np.float32) / 127.5 - 1
    require(whole_way.transpose(2, 0, 1)[None], drawn.clip(-1, 1), FP16_STORED, "rs_runtime.synth")


@pytest.mark.parametrize("left_out", STRENGTHS)
def test_each_kind_has_its_part_in_the_mix(
    generator: Generator,
    mixture: list[tuple[TokenSet, float]],
    w_plus: torch.Tensor,
    left_out: str,
) -> None:
    def draw(pairs: list[tuple[TokenSet, float]]) -> torch.Tensor:
        sets, strengths = zip(*pairs, strict=True)
        return generator.synthesis(w_plus, pack(sets, generator.table, strengths))

    rest = [(tokens, strength) for tokens, strength in mixture if tokens.name != left_out]
    assert len(rest) == len(mixture) - 1
    assert (draw(mixture) - draw(rest)).abs().mean() > 0.01
