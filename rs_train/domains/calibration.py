"""Offset calibration: how an encoder's styles vary beside the mapping network's.

Domains are learned on styles of mapped latents, s = affine_n(w). An encoder sees the pictures of
such latents and finds styles of its own for them. Of each layer the factor alpha between the two is
kept; at run time a domain's change of the layer's kernel is divided by it.

After the offset calibration of "Developing effective StyleGAN encoders for domain adaptation",
whose regression is not spelled out there; `fit` says which one this is, and why.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rs_train.generator import Generator
from rs_train.generator.synthesis import module_name
from rs_train.pixels import from_levels, to_levels

# Images [N, 3, R, R] in [-1, 1] to w_plus [N, num_ws, w_dim].
Encode = Callable[[Tensor], Tensor]
Styles = dict[str, Tensor]
_BATCH = 16


@dataclass(frozen=True)
class PairedLatents:
    """Latents of the same pictures.

    Attributes:
        mapped: w_plus [M, num_ws, w_dim] that the pictures were drawn from.
        found: w_plus that an encoder found in the 8-bit pictures.
    """

    mapped: Tensor
    found: Tensor


@torch.no_grad()
def draw_and_encode(
    generator: Generator, encode: Encode, *, count: int, seed: int, truncation_psi: float = 1.0
) -> PairedLatents:
    """Draw heads of known latents and let an encoder invert their pictures.

    Args:
        generator: Draws, with its constant noise.
        encode: The encoder.
        count: Number of heads M.
        seed: Of the heads.
        truncation_psi: 1 draws the whole variety.
    """
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(count, generator.config.z_dim, generator=rng)
    mapped, found = [], []
    for part in z.split(_BATCH):
        w_plus = generator.broadcast(generator.mapping(part, truncation_psi))
        image = from_levels(to_levels(generator.synthesis(w_plus)))
        mapped.append(w_plus)
        found.append(encode(image).float())
    return PairedLatents(torch.cat(mapped), torch.cat(found))


@torch.no_grad()
def styles_of(generator: Generator, w_plus: Tensor) -> Styles:
    """Styles [M, Cin] of w_plus [M, num_ws, w_dim], by layer."""
    layers = generator.synthesis.layers
    return {
        layer.name: layers[module_name(layer)].affine(w_plus[:, layer.w_index])
        for layer in generator.table.layers
    }


@dataclass(frozen=True)
class Fit:
    """One layer's styles of an encoder beside the mapped ones of the same pictures.

    Attributes:
        alpha: Scale of the mapped styles over the found ones; see `fit`.
        slope: Of the found deviations from the channels' means on the mapped ones: below 1 where an
            encoder, unsure of a picture, stays near the average.
        correlation: Of these deviations, over pictures and channels.
    """

    alpha: float
    slope: float
    correlation: float


def fit(mapped: Tensor, found: Tensor) -> Fit:
    """Fit one layer's styles by least squares.

    Demodulation takes no notice of the scale of a kernel: where mapped = alpha found,

        d (s_mapped + offset) W0 + d dW = d' (s_found + offset / alpha) W0 + d' dW / alpha

    is one and the same kernel of unit norm. So alpha, by which a domain's change is divided, is the
    factor without intercept that brings the found styles closest to the mapped ones.

    Args:
        mapped: [M, Cin].
        found: Likewise, of the same pictures.
    """
    mapped, found = mapped.double(), found.double()
    x, y = (value - value.mean(dim=0) for value in (mapped, found))
    common = (x * y).sum()
    return Fit(
        alpha=float((mapped * found).sum() / (found * found).sum()),
        slope=float(common / (x * x).sum()),
        correlation=float(common / ((x * x).sum() * (y * y).sum()).sqrt()),
    )


def std_ratios(mapped: Tensor, found: Tensor) -> Tensor:
    """Standard deviation of the found styles over that of the mapped ones, [Cin]."""
    return found.std(dim=0) / mapped.std(dim=0).clamp(min=1e-8)
