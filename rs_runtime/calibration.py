"""Domains on the styles of an encoder: changes of the kernel divided by each layer's alpha.

    dW' = dW / alpha        style offset' = style offset / alpha        m' = m

The modulation m is a factor already: it needs no scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rs_runtime.contracts.calibration import Calibration
from rs_runtime.contracts.tokens import TokenSet


def calibrated(domain: TokenSet, calibration: Calibration) -> TokenSet:
    """The domain as an encoder's styles need it.

    Args:
        domain: Learned on styles of mapped latents; of the calibration's generator.
        calibration: Of the encoder.
    """
    return divided(domain, {name: own.alpha for name, own in calibration.layers.items()})


def divided(domain: TokenSet, alphas: Mapping[str, float]) -> TokenSet:
    """The domain with residuals and style offsets divided by a number for each layer."""

    def smaller(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value / np.float32(alphas[name]) for name, value in arrays.items()}

    return replace(domain, P=smaller(domain.P), style_offset=smaller(domain.style_offset))
