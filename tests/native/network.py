"""Generators of many shapes, and their constants as a synthesis graph has them, without a trace."""

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from rs_runtime.mixing import PackedTokens
from rs_train.generator import Generator, GeneratorConfig
from rs_train.generator.synthesis import module_name
from rs_train.generator.tokens import PackedTokens as TorchTokens

W_DIM = 16


def random_generator(channels: tuple[int, ...], seed: int = 0) -> Generator:
    """Noise and biases that are not zero; `channels` of 4x4, 8x8, … up to the picture's size."""
    torch.manual_seed(seed)
    config = GeneratorConfig(channels=channels, z_dim=8, w_dim=W_DIM, mapping_layers=1)
    generator = Generator(config).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
        elif name.endswith("bias"):
            parameter.data += 0.1 * torch.randn_like(parameter)
    return generator


@torch.inference_mode()
def constants(generator: Generator) -> dict[str, np.ndarray]:
    """What `rs_export.constant_names` and `rs_export.forms` name."""
    synthesis = generator.synthesis
    found = {"const": synthesis.const}
    for layer in (*generator.table.convs, *generator.table.torgbs):
        module = synthesis.layers[module_name(layer)]
        weight = module.weight * module.weight_gain
        is_conv = layer.kind != "torgb"
        found[f"{layer.name}.weight"] = (
            weight.transpose(0, 1) if is_conv and layer.up == 2 else weight
        )
        bias = module.affine(torch.zeros(1, W_DIM))[0]
        found[f"{layer.name}.affine.weight"] = (module.affine(torch.eye(W_DIM)) - bias).T
        found[f"{layer.name}.affine.bias"] = bias
        found[f"{layer.name}.bias"] = module.bias[:, None, None]
        if is_conv:
            found[f"{layer.name}.noise"] = module.noise_const * module.noise_strength
    return {name: np.ascontiguousarray(v.numpy(), np.float32) for name, v in found.items()}


def graph_of(values: dict[str, np.ndarray]) -> bytes:
    """An ONNX file of nothing but constants."""
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph([], "synthesis", [], [], tensors)
    return helper.make_model(graph).SerializeToString()


def random_inputs(generator: Generator, rank: int, seed: int = 0) -> dict[str, np.ndarray]:
    """One sample's inputs by name, tokens that change a lot."""
    rng = np.random.default_rng(seed)
    table = generator.table

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((1, *shape), np.float32)

    return {
        "w_plus": normal(table.num_ws, table.w_dim),
        "P": 0.2 * normal(rank, table.sum_out),
        "Q": 0.2 * normal(rank, table.sum_in),
        "style_offset": 0.2 * normal(table.style_channels_with_torgb),
        "modulation": 1 + 0.2 * normal(table.sum_in),
    }


@torch.inference_mode()
def reference(generator: Generator, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """image_float as PyTorch computes it in fp32 with kernels made for the sample, [1, 3, R, R]."""
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    generator.synthesis.form = "materialised"
    tokens = TorchTokens(*(tensors[name] for name in PackedTokens._fields))
    return generator.synthesis(tensors["w_plus"], tokens).numpy()


def without(model: bytes, name: str) -> bytes:
    """The file without one of its constants."""
    graph = onnx.load_from_string(model)
    kept = [tensor for tensor in graph.graph.initializer if tensor.name != name]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    return graph.SerializeToString()
