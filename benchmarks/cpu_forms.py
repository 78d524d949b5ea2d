"""The published synthesis as ONNX on random weights, and the forms that ours is compared with."""

import numpy as np
import onnx
import torch

from benchmarks.gpu_synthesis import ffhq_table
from rs_export import forms
from rs_export.cpu_graph import for_cpus
from rs_export.forms import Form, RefinedConv, expand
from rs_export.graphs.synthesis import synthesis_role
from rs_export.portable import finish, for_one
from rs_train.generator import Generator, GeneratorConfig

# Without tokens: dW = 0 leaves s W0, demodulated by the kernel's own sums.
_PLAIN_DEMODULATION = """
    s = Add(style, style_offset)
    gain = Mul(s, modulation)
    s_squared = Mul(s, s)
    static_norm = MatMul(s_squared, tap_squares)
    epsilon = Constant<value_float = 1e-8>()
    norm_safe = Add(static_norm, epsilon)
    norm_root = Sqrt(norm_safe)
    d = Reciprocal(norm_root)
"""
_PLAIN_CONSTANT = """
    maps = Constant<value_ints = [2, 3]>()
    d_map = Unsqueeze(d, maps)
    gain_map = Unsqueeze(gain, maps)
    x_modulated = Mul(x, gain_map)
    base = {convolution}(x_modulated, weight)
    demodulated = Mul(base, d_map)
    y = {blur}(demodulated{fir})
"""
_PLAIN_MATERIALISED = """
    one = Constant<value_ints = [1]>()
    last = Constant<value_ints = [2]>()
    d_column = Unsqueeze(d, last)
    gain_row = Unsqueeze(gain, one)
    factors = Mul(d_column, gain_row)
    factors_turned = Transpose<perm = {turn}>(factors)
    a_tap = Constant<value_ints = [{first}, {second}, 1, 1]>()
    factors_tap = Reshape(factors_turned, a_tap)
    kernel = Mul(weight, factors_tap)
    convolved = {convolution}(x, kernel)
    y = {blur}(convolved{fir})
"""
# As a trace of the per-sample kernels gives it: build, square, sum, divide, turn.
_NAIVE = """
    s = Add(style, style_offset)
    maps = Constant<value_ints = [2, 3]>()
    s_map = Unsqueeze(s, maps)
    Pt = Transpose<perm = [0, 2, 1]>(P)
    dW = MatMul(Pt, Q)
    a_tap = Constant<value_ints = [{cout}, {cin}, 1, 1]>()
    dW_tap = Reshape(dW, a_tap)
    scaled = Mul(kernel_static, s_map)
    refined = Add(scaled, dW_tap)
    squares = Mul(refined, refined)
    inner = Constant<value_ints = [1, 2, 3]>()
    norm = ReduceSum(squares, inner)
    epsilon = Constant<value_float = 1e-8>()
    norm_safe = Add(norm, epsilon)
    root = Sqrt(norm_safe)
    demodulated = Div(refined, root)
    m_map = Unsqueeze(modulation, maps)
    x_modulated = Mul(x, m_map)
    kernel = Transpose<perm = {kernel_turn}>(demodulated)
    convolved = {convolution}(x_modulated, kernel)
    y = {blur}(convolved{fir})
"""


def plain_constant(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """Unrefined, weights constant: what a straight export of StyleGAN2 would be."""
    return forms.function(conv, _PLAIN_DEMODULATION + _PLAIN_CONSTANT), forms.constants(conv)


def plain_materialised(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """Unrefined, kernels scaled for each picture."""
    return forms.function(conv, _PLAIN_DEMODULATION + _PLAIN_MATERIALISED), forms.constants(conv)


def plain_cpu(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """Unrefined, by the rule of the `cpu` form."""
    small = conv.size <= forms.CONSTANT_UP_TO
    return plain_constant(conv) if small else plain_materialised(conv)


def naive(conv: RefinedConv) -> tuple[str, dict[str, np.ndarray]]:
    """Refined, as tracing the equations gives it."""
    turn = [1, 0, 2, 3] if conv.up == 2 else [0, 1, 2, 3]
    text = forms.function(conv, _NAIVE.replace("{kernel_turn}", str(turn)))
    constants = forms.constants(conv)
    kernel = np.ascontiguousarray(conv.weight, np.float32)
    return text, {k: v for k, v in constants.items() if k == "fir"} | {"kernel_static": kernel}


def random_generator(size: int, seed: int = 0) -> Generator:
    """The published channels at a size of 64 or more, random weights, noise on."""
    torch.manual_seed(seed)
    table = ffhq_table(size)
    channels = tuple(layer.out_channels for layer in table.convs if layer.name.endswith("conv1"))
    config = GeneratorConfig(channels=channels, z_dim=512, w_dim=512, mapping_layers=1)
    generator = Generator(config).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
        elif name.endswith("bias"):  # engines leave out what adds nothing
            parameter.data += 0.1 * torch.randn_like(parameter)
    return generator


def intermediate(generator: Generator) -> onnx.ModelProto:
    """The synthesis with one node a refined convolution."""
    return synthesis_role(generator).intermediate()


def graph(model: onnx.ModelProto, form: Form) -> bytes:
    """A file for a batch of one in a form, as we ship it."""
    return finish(for_cpus(model, form), "synthesis").SerializeToString()


def straight(model: onnx.ModelProto, form: Form) -> bytes:
    """A file for a batch of one in a form, and otherwise as it was traced."""
    return finish(for_one(expand(model, form)), "synthesis").SerializeToString()


def random_inputs(generator: Generator, batch: int, rank: int, seed: int = 0) -> dict:
    """Latents and tokens as large as a refined picture's, [N, ...] float32 by input name."""
    rng = np.random.default_rng(seed)
    table = generator.table

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((batch, *shape), np.float32)

    return {
        "w_plus": normal(table.num_ws, table.w_dim),
        "P": 0.02 * normal(rank, table.sum_out),
        "Q": 0.02 * normal(rank, table.sum_in),
        "style_offset": 0.1 * normal(table.style_channels_with_torgb),
        "modulation": 1 + 0.1 * normal(table.sum_in),
    }
