"""The refined modulated convolution, in the three exact forms that it can be computed in."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rs_train.generator.resample import blur_after_transposed

Form = Literal["materialised", "factorised", "dense"]
FORMS: tuple[Form, ...] = get_args(Form)


def refined_conv(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    *,
    P: Tensor | None = None,
    Q: Tensor | None = None,
    style_offset: Tensor | None = None,
    modulation: Tensor | None = None,
    up: int = 1,
    demodulate: bool = True,
    form: Form = "factorised",
) -> Tensor:
    """Convolve with per-sample kernels (s + offset) * W0 + P^T Q, then demodulate.

    Args:
        x: Input features [N, Cin, H, W].
        weight: Static kernel W0 [Cout, Cin, k, k] with the run-time gain applied, k 1 or 3; or one
            for each sample [N, Cout, Cin, k, k], which is computed materialised in any form.
        style: Styles s [N, Cin].
        P: Output-side tokens [N, L, Cout]; None means no residual.
        Q: Input-side tokens [N, L, Cin]; given exactly when P is.
        style_offset: Added to the styles [N, Cin].
        modulation: Multiplies the input outside demodulation [N, Cin].
        up: 1, or 2 for a stride-2 transposed convolution followed by the FIR blur.
        demodulate: Scale each output channel's final kernel to unit norm.
        form: How it is computed; every form gives the same numbers. `materialised` builds the
            kernels, one group a sample; `factorised` keeps W0 shared and adds box(P^T (Q x));
            `dense` adds box(dW x) with dW = P^T Q formed once.

    Returns:
        Features [N, Cout, up * H, up * W], before noise, bias and activation.

    Raises:
        ValueError: Unknown form or up, or P without Q.

    Source: RefineStyle Eq. 2 and 3; StyleGAN2 Eq. 1 to 3 for modulation and demodulation.
    """
    if form not in FORMS or up not in (1, 2) or (P is None) != (Q is None):
        raise ValueError(f"form {form!r}, up {up}, P given: {P is not None}, Q: {Q is not None}")
    if style_offset is not None:
        style = style + style_offset
    if modulation is not None:
        x = x * modulation[:, :, None, None].to(x.dtype)
    if form == "materialised" or weight.ndim == 5:
        y = _materialised(x, weight, style, P, Q, up, demodulate)
    else:
        y = _conv(x * style[:, :, None, None].to(x.dtype), weight, up)
        dW = None
        if P is not None:
            if form == "dense" or demodulate:
                dW = torch.einsum("nlo,nli->noi", P, Q)
            y = y + (
                _dense(x, dW, weight, up) if form == "dense" else _low_rank(x, P, Q, weight, up)
            )
        if demodulate:
            d = demodulation(weight, style, dW)
            y = y * d[:, :, None, None].to(y.dtype)
    return blur_after_transposed(y, weight.shape[-1]) if up == 2 else y


def demodulation(weight: Tensor, style: Tensor, dW: Tensor | None = None) -> Tensor:
    """Return d [N, Cout], the inverse norm of each final kernel, without building the kernels.

    d^-2 = sum_i (s_i^2 sum W0^2 + 2 s_i dW[o,i] sum W0 + k^2 dW[o,i]^2) + 1e-8, in fp32 because
    1e-8 underflows in half precision.
    """
    with torch.autocast(weight.device.type, enabled=False):
        weight, style = weight.float(), style.float()
        square = style.square() @ weight.square().sum(dim=(2, 3)).T  # [N, Cout]
        if dW is not None:
            dW = dW.float()
            taps = weight.shape[2] * weight.shape[3]
            cross = 2 * style[:, None, :] * weight.sum(dim=(2, 3))[None] + taps * dW
            square = square + (dW * cross).sum(dim=2)
        # Rounding may take an all but empty kernel's square below zero.
        return torch.rsqrt(square.clamp_min(0) + 1e-8)


def _conv(x: Tensor, weight: Tensor, up: int, groups: int = 1) -> Tensor:
    """Convolve [N, C, H, W]; in up layers transposed with stride 2, giving 2H + k - 2."""
    if up == 1:
        return F.conv2d(x, weight, padding=weight.shape[2] // 2, groups=groups)
    if groups == 1:
        return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    out_channels, in_channels, k, _ = weight.shape
    weight = weight.reshape(groups, out_channels // groups, in_channels, k, k).transpose(1, 2)
    weight = weight.reshape(groups * in_channels, out_channels // groups, k, k)
    return F.conv_transpose2d(x, weight, stride=2, groups=groups)


def _materialised(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    P: Tensor | None,
    Q: Tensor | None,
    up: int,
    demodulate: bool,
) -> Tensor:
    kernels = weight * style[:, None, :, None, None]  # [N, Cout, Cin, k, k]
    if P is not None:
        kernels = kernels + torch.einsum("nlo,nli->noi", P, Q)[:, :, :, None, None]
    if demodulate:
        kernels = kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    batch, out_channels, in_channels, k, _ = kernels.shape
    y = _conv(
        x.reshape(1, batch * in_channels, *x.shape[2:]),
        kernels.reshape(batch * out_channels, in_channels, k, k),
        up,
        groups=batch,
    )
    return y.reshape(batch, out_channels, *y.shape[2:])


def _box(x: Tensor, weight: Tensor, up: int) -> Tensor:
    """All-ones k x k filter with the stride or transposition of the convolution itself."""
    k = weight.shape[2]
    if up == 1:
        return x if k == 1 else F.avg_pool2d(x, k, stride=1, padding=k // 2) * k**2
    ones = x.new_ones(x.shape[1], 1, k, k)
    return F.conv_transpose2d(x, ones, stride=2, groups=x.shape[1])


def _per_sample_1x1(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply matrix [N, Cout, Cin] to the channels of x [N, Cin, H, W]."""
    matrix = matrix.to(x.dtype)
    if x.is_contiguous(memory_format=torch.channels_last):
        # Multiplying from the other side leaves maps in this layout where they are.
        y = torch.matmul(x.permute(0, 2, 3, 1).flatten(1, 2), matrix.transpose(1, 2))
        return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
    return torch.bmm(matrix, x.flatten(2)).unflatten(2, x.shape[2:])


def _low_rank(x: Tensor, P: Tensor, Q: Tensor, weight: Tensor, up: int) -> Tensor:
    return _per_sample_1x1(P.transpose(1, 2), _box(_per_sample_1x1(Q, x), weight, up))


def _dense(x: Tensor, dW: Tensor, weight: Tensor, up: int) -> Tensor:
    # dW first: in up layers it then runs at the smaller side.
    return _box(_per_sample_1x1(dW, x), weight, up)
