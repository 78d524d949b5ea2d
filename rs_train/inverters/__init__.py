"""Inverters: from a picture to the latent, and to the tokens, that reproduce it."""

from rs_train.inverters.refine import Refiner, RefinerConfig, Residual
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig

__all__ = ["Refiner", "RefinerConfig", "Residual", "StyleTransformer", "StyleTransformerConfig"]
