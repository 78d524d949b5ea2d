"""Domains on the styles of an encoder: changes of the kernel divided by each layer's alpha.

    dW' = dW / alpha        style offset' = style offset / alpha        m' = m

The modulation m is a factor already: it needs no scale.
"""

from __future__ import annotations

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

    def divided(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        alphas = calibration.layers
        return {name: value / np.float32(alphas[name].alpha) for name, value in arrays.items()}

    return replace(domain, P=divided(domain.P), style_offset=divided(domain.style_offset))
