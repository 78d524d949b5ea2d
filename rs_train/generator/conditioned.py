"""Synthesis that other systems than RefineStyle change sample by sample.

Neither change is known to `Synthesis` itself, so that what is exported stays as small as it is.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call

from rs_train.generator.synthesis import Synthesis, module_name


def with_kernel_deltas(synthesis: Synthesis, w_plus: Tensor, deltas: Sequence[Tensor]) -> Tensor:
    """Synthesise with kernels W0 (1 + Δ) (HyperStyle, Eq. 4).

    Args:
        synthesis: The network; it stays as it is.
        w_plus: [N, num_ws, w_dim].
        deltas: One Δ a convolution in layer-table order, [N, Cout, Cin, k, k] or, alike for all
            taps, [N, Cout, Cin, 1, 1]; toRGB layers have none.

    Returns:
        Unclamped images [N, 3, R, R] with the constant noise.
    """
    kernels = {}
    for layer, delta in zip(synthesis.table.convs, deltas, strict=True):
        name = f"layers.{module_name(layer)}.weight"
        kernels[name] = synthesis.get_parameter(name) * (1 + delta)
    return functional_call(synthesis, kernels, (w_plus,))


def with_fused_features(
    synthesis: Synthesis, w_plus: Tensor, scale: Tensor, shift: Tensor
) -> Tensor:
    """Synthesise with features F (1 + scale) + shift (HFGI, Eq. 6).

    They are fused after the upsampling convolution of their own resolution.

    Args:
        synthesis: The network; it stays as it is.
        w_plus: [N, num_ws, w_dim].
        scale: [N, C, r, r], C the channels of that convolution's output.
        shift: Same shape.

    Returns:
        Unclamped images [N, 3, R, R] with the constant noise.
    """

    def fuse(module: nn.Module, inputs: tuple, features: Tensor) -> Tensor:
        return features * (1 + scale) + shift

    layer = synthesis.table.by_name[f"b{scale.shape[-1]}.conv0"]
    hook = synthesis.layers[module_name(layer)].register_forward_hook(fuse)
    try:
        return synthesis(w_plus)
    finally:
        hook.remove()
