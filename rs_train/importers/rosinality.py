"""Generators in the format of rosinality/stylegan2-pytorch, also inside pSp-type files."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rs_runtime.contracts.layers import LayerTable
from rs_train.generator import Generator, GeneratorConfig
from rs_train.generator.resample import fir_kernel
from rs_train.generator.synthesis import module_name

# Constant FIR kernels, which this project computes.
_CONSTANT = re.compile(r"(convs\.\d+\.conv\.blur|to_rgbs\.\d+\.upsample)\.kernel")


def generator_from_state(
    state: Mapping[str, Tensor], latent_avg: Tensor | None
) -> tuple[Generator, list[str]]:
    """Build a generator from a `g_ema` state dict.

    Size, channels, mapping depth and widths are read off the tensors' shapes.

    Args:
        state: Its tensors.
        latent_avg: [w_dim], or [num_ws, w_dim] as encoders store it; None computes it from 10,000
            mapped z.

    Returns:
        The generator, and what differs from its source.

    Raises:
        KeyError: A tensor is missing.
        ValueError: A tensor is unknown, or a FIR filter is another one.
        IncompatibleError: The kernels do not form a StyleGAN2 synthesis network.
        RuntimeError: Shapes that do not form a generator.
    """
    config = _config(state)
    _refuse_other_filters(state)
    generator = Generator(config)
    renamed = _rename(state, config)
    notes = []
    average = latent_avg
    if average is not None and average.ndim == 2:
        if (average != average[0]).any():
            average = None
            notes.append("latent_avg differs between the rows of w_plus: not the generator's")
        else:
            average = average[0]
    renamed["latent_avg"] = generator.latent_avg if average is None else average
    generator.load_state_dict({name: tensor.float() for name, tensor in renamed.items()})
    if average is None:
        generator.update_latent_avg()
        notes.append("latent_avg is not in the file: computed from 10,000 z")
    return generator, notes


def _config(state: Mapping[str, Tensor]) -> GeneratorConfig:
    depth = len({key for key in state if re.fullmatch(r"style\.\d+\.weight", key)})
    count = len({key for key in state if re.fullmatch(r"convs\.\d+\.conv\.weight", key)})
    convs = [f"convs.{i}.conv.weight" for i in range(count)]
    torgbs = [f"to_rgbs.{i}.conv.weight" for i in range(count // 2)]
    w_dim, z_dim = state["style.1.weight"].shape
    table = LayerTable.from_kernel_shapes(
        [state[name].shape[1:] for name in ("conv1.conv.weight", *convs)],
        [state[name].shape[1:] for name in ("to_rgb1.conv.weight", *torgbs)],
        w_dim,
    )
    channels = tuple(layer.in_channels for layer in table.torgbs)
    return GeneratorConfig(channels=channels, z_dim=z_dim, w_dim=w_dim, mapping_layers=depth)


def _refuse_other_filters(state: Mapping[str, Tensor]) -> None:
    """The FIR filters are computed here; a checkpoint made with others would give other images."""
    for key, tensor in state.items():
        if _CONSTANT.fullmatch(key):
            expected = fir_kernel(1, 4.0, tensor.float())[0, 0]
            if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected):
                raise ValueError(f"{key} is not the filter [1, 3, 3, 1]")


def _rename(state: Mapping[str, Tensor], config: GeneratorConfig) -> dict[str, Tensor]:
    """Give the tensors this project's names and shapes; every one must be used."""
    left = {key: tensor for key, tensor in state.items() if not _CONSTANT.fullmatch(key)}
    out: dict[str, Tensor] = {"synthesis.const": left.pop("input.input")[0]}
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            out[f"mapping_network.layers.{i}.{part}"] = left.pop(f"style.{i + 1}.{part}")
    for n, layer in enumerate(config.table.convs):
        source = "conv1" if n == 0 else f"convs.{n - 1}"
        target = f"synthesis.layers.{module_name(layer)}"
        out[f"{target}.weight"] = left.pop(f"{source}.conv.weight")[0]
        out[f"{target}.affine.weight"] = left.pop(f"{source}.conv.modulation.weight")
        out[f"{target}.affine.bias"] = left.pop(f"{source}.conv.modulation.bias")
        out[f"{target}.noise_strength"] = left.pop(f"{source}.noise.weight").reshape([])
        out[f"{target}.bias"] = left.pop(f"{source}.activate.bias")
        out[f"{target}.noise_const"] = left.pop(f"noises.noise_{n}")[0, 0]
    for n, layer in enumerate(config.table.torgbs):
        source = "to_rgb1" if n == 0 else f"to_rgbs.{n - 1}"
        target = f"synthesis.layers.{module_name(layer)}"
        out[f"{target}.weight"] = left.pop(f"{source}.conv.weight")[0]
        out[f"{target}.affine.weight"] = left.pop(f"{source}.conv.modulation.weight")
        out[f"{target}.affine.bias"] = left.pop(f"{source}.conv.modulation.bias")
        out[f"{target}.bias"] = left.pop(f"{source}.bias").reshape(-1)
    if left:
        raise ValueError(f"unknown tensor {next(iter(left))}")
    return out
