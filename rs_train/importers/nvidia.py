"""Generators of NVIDIA's stylegan2-ada-pytorch, and StyleGAN2 ones of stylegan3, from their .pkl.

Facts of the format: kernels are stored N(0, 1) without a gain, as here; w_avg is the latent_avg;
the affine biases include the 1. The activation clamp of their fp16 layers is left out, and so is
the class-conditional mapping.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.layers import LayerTable
from rs_train.generator import Generator, GeneratorConfig
from rs_train.generator.synthesis import module_name

_KERNEL = re.compile(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.weight")
_FILTER = re.compile(r".*\.resample_filter")
_TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])


def generator_from_state(
    state: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> tuple[Generator, list[str]]:
    """Build the generator of a G_ema.

    Args:
        state: Its tensors, named by the path of modules.
        facts: Attributes of its modules, named likewise.

    Returns:
        The generator, and what differs from its source.

    Raises:
        IncompatibleError: Another kind of network.
        KeyError: A tensor is missing.
        ValueError: A tensor is unknown, or a FIR filter is another one.
        RuntimeError: Shapes that do not form a generator.
    """
    _refuse_other_networks(state, facts)
    _refuse_other_filters(state)
    config = _config(state, facts)
    generator = Generator(config)
    renamed = _rename(state, config)
    average = renamed.setdefault("latent_avg", generator.latent_avg)
    generator.load_state_dict({name: tensor.float() for name, tensor in renamed.items()})
    if average is generator.latent_avg:
        generator.update_latent_avg()
    return generator, _notes(facts, average is generator.latent_avg)


def _refuse_other_networks(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    def values(name: str) -> set[Any]:
        return {v for key, v in facts.items() if key.rpartition(".")[2] == name}

    found = ""
    if any(key.startswith("synthesis.input.") for key in state):
        found = "an alias-free (StyleGAN3) generator"
    elif any(values("c_dim")) or "mapping.embed.weight" in state:
        found = "a class-conditional generator"
    elif not values("architecture") <= {"skip"}:
        found = f"architecture {', '.join(sorted(map(str, values('architecture'))))}"
    elif not values("activation") <= {"lrelu", "linear"}:
        found = f"activations {', '.join(sorted(map(str, values('activation'))))}"
    elif False in values("use_noise"):
        found = "layers without noise"
    if found:
        raise IncompatibleError(
            "its network is another one", found=found, expected="a StyleGAN2 with RGB skips"
        )


def _refuse_other_filters(state: Mapping[str, Tensor]) -> None:
    expected = torch.outer(_TAPS, _TAPS) / _TAPS.sum() ** 2
    for key, tensor in state.items():
        if _FILTER.fullmatch(key) and (
            tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected)
        ):
            raise ValueError(f"{key} is not the filter [1, 3, 3, 1]")


def _config(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> GeneratorConfig:
    kernels = {match: state[match[0]].shape for match in map(_KERNEL.fullmatch, state) if match}
    # conv0 before conv1, block by block; the 4x4 block has no conv0.
    order = sorted(kernels, key=lambda match: (int(match[1]), match[2]))
    w_dim, z_dim = state["mapping.fc0.weight"].shape
    table = LayerTable.from_kernel_shapes(
        [kernels[match] for match in order if match[2] != "torgb"],
        [kernels[match] for match in order if match[2] == "torgb"],
        w_dim,
    )
    return GeneratorConfig(
        channels=tuple(layer.in_channels for layer in table.torgbs),
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in state),
        mapping_lr_multiplier=float(facts.get("mapping.fc0.bias_gain", 0.01)),
    )


def _rename(state: Mapping[str, Tensor], config: GeneratorConfig) -> dict[str, Tensor]:
    """Give the tensors this project's names; every one must be used."""
    left = {key: tensor for key, tensor in state.items() if not _FILTER.fullmatch(key)}
    out: dict[str, Tensor] = {"synthesis.const": left.pop("synthesis.b4.const")}
    if "mapping.w_avg" in left:
        out["latent_avg"] = left.pop("mapping.w_avg")
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            out[f"mapping_network.layers.{i}.{part}"] = left.pop(f"mapping.fc{i}.{part}")
    common = ("weight", "bias", "affine.weight", "affine.bias")
    for layer in config.table.layers:
        noise = () if layer.kind == "torgb" else ("noise_strength", "noise_const")
        for part in (*common, *noise):
            target = f"synthesis.layers.{module_name(layer)}.{part}"
            out[target] = left.pop(f"synthesis.{layer.name}.{part}")
    if left:
        raise ValueError(f"unknown tensor {next(iter(left))}")
    return out


def _notes(facts: Mapping[str, Any], computed: bool) -> list[str]:
    notes = ["latent_avg is not in the file: computed from 10,000 z"] if computed else []
    clamps = {value for key, value in facts.items() if key.endswith(".conv_clamp")}
    if clamps:
        notes.append(f"activations are not clamped at {max(clamps):g}, as the source's fp16 is")
    return notes
