"""The oracle: one refined layer in plain NumPy, the judge of every other implementation.

It builds each sample's kernel and loops over its taps, in the precision of its inputs; give it
float64 to judge float32. It is written to be read next to the equations, not to be fast.
"""

import numpy as np

DEMODULATION_EPS = 1e-8
BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)


def refined_kernel(
    weight: np.ndarray,
    style: np.ndarray,
    *,
    P: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    style_offset: np.ndarray | None = None,
    demodulate: bool = True,
) -> np.ndarray:
    """Build the dynamic kernel Wd = (s + Δs) ⊙ W0 + dW of every sample (Eq. 2), demodulated.

    Args:
        weight: W0 [Cout, Cin, k, k] with the gain 1/sqrt(Cin·k²) applied.
        style: s [N, Cin].
        P: [N, L, Cout] or None for no residual.
        Q: [N, L, Cin] or None; dW = Pᵀ Q (Eq. 3) is the same for all taps.
        style_offset: Δs [N, Cin] or None for 0.
        demodulate: Divide each output's final kernel by its norm, sqrt(Σ Wd² + 1e-8).

    Returns:
        [N, Cout, Cin, k, k].
    """
    scale = style if style_offset is None else style + style_offset
    kernel = scale[:, None, :, None, None] * weight
    if P is not None and Q is not None:
        kernel = kernel + np.einsum("nlo,nli->noi", P, Q)[..., None, None]
    if demodulate:
        kernel = kernel / np.sqrt(
            np.sum(kernel * kernel, axis=(2, 3, 4), keepdims=True) + DEMODULATION_EPS
        )
    return kernel


def refined_layer(
    x: np.ndarray,
    weight: np.ndarray,
    style: np.ndarray,
    *,
    P: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    style_offset: np.ndarray | None = None,
    modulation: np.ndarray | None = None,
    up: int = 1,
    demodulate: bool = True,
    noise: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    activate: bool = True,
) -> np.ndarray:
    """Compute y = d ⊙ conv(m ⊙ x, Wd), blur in up layers, noise, bias, leaky ReLU.

    Args:
        x: [N, Cin, H, W], float32 or float64.
        weight: As `refined_kernel`; k is 1 or 3.
        style: As `refined_kernel`.
        P: As `refined_kernel`.
        Q: As `refined_kernel`.
        style_offset: As `refined_kernel`.
        modulation: m [N, Cin] on the input, outside demodulation; None for 1.
        up: 2 for a transposed convolution of stride 2 followed by the FIR blur, else 1.
        demodulate: As `refined_kernel`.
        noise: Added after the blur, already times its strength; broadcasts to [N, 1, H·up, W·up].
        bias: [Cout] or None.
        activate: Leaky ReLU of slope 0.2 times sqrt(2).

    Returns:
        [N, Cout, H·up, W·up] in the dtype of the inputs.
    """
    kernel = refined_kernel(
        weight, style, P=P, Q=Q, style_offset=style_offset, demodulate=demodulate
    )
    scaled = x if modulation is None else modulation[:, :, None, None] * x
    y = _transposed_convolution(scaled, kernel) if up == 2 else _convolution(scaled, kernel)
    if noise is not None:
        y = y + noise
    if bias is not None:
        y = y + bias[:, None, None]
    if activate:
        y = np.where(y < 0, y * y.dtype.type(0.2), y) * y.dtype.type(np.sqrt(2))
    return y


def _convolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate each sample with its kernel, zero-padded to the same size."""
    height, width = x.shape[2:]
    k = kernel.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    return sum(
        _mix(kernel[..., a, b], padded[:, :, a : a + height, b : b + width])
        for a in range(k)
        for b in range(k)
    )


def _mix(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Apply each sample's [Cout, Cin] to its channels; as einsum this takes minutes at 1024²."""
    samples, channels, height, width = x.shape
    return (matrix @ x.reshape(samples, channels, -1)).reshape(samples, -1, height, width)


def _transposed_convolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Spread each pixel by its sample's kernel at stride 2, then blur to twice the size."""
    samples, _, height, width = x.shape
    k = kernel.shape[-1]
    spread = np.zeros((samples, kernel.shape[1], 2 * height - 2 + k, 2 * width - 2 + k), x.dtype)
    for a in range(k):
        for b in range(k):
            spread[:, :, a : a + 2 * height - 1 : 2, b : b + 2 * width - 1 : 2] += _mix(
                kernel[..., a, b], x
            )
    # The blur has 4 taps a side; (1, 1) around the 2H + 1 pixels of k = 3, (2, 2) around 2H - 1.
    pad = 1 if k == 3 else 2
    padded = np.pad(spread, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    taps = np.array(BLUR_TAPS, x.dtype) / sum(BLUR_TAPS) * 2  # gain 2 a side, 4 in all
    return sum(
        taps[a] * taps[b] * padded[:, :, a : a + 2 * height, b : b + 2 * width]
        for a in range(4)
        for b in range(4)
    )
