"""Inverters: from a picture to the latent, and to the tokens, that reproduce it."""

from rs_train.inverters.e4e import E4E
from rs_train.inverters.feature_shift import FeatureShift, FeatureShiftConfig
from rs_train.inverters.feature_style import FeatureStyle, FeatureStyleConfig, FeatureStyleEncoder
from rs_train.inverters.hfgi import HFGI, HFGIConfig
from rs_train.inverters.hyperstyle import HyperStyle, HyperStyleConfig
from rs_train.inverters.one_stage import Codes, OneStage, OneStageConfig
from rs_train.inverters.psp import PSP
from rs_train.inverters.refine import Refiner, RefinerConfig, Residual
from rs_train.inverters.restyle import ReStyle, ReStyleConfig
from rs_train.inverters.style_head import StyleHeadsConfig
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig

__all__ = [
    "Codes",
    "E4E",
    "FeatureShift",
    "FeatureShiftConfig",
    "FeatureStyle",
    "FeatureStyleConfig",
    "FeatureStyleEncoder",
    "HFGI",
    "HFGIConfig",
    "HyperStyle",
    "HyperStyleConfig",
    "OneStage",
    "OneStageConfig",
    "PSP",
    "ReStyle",
    "ReStyleConfig",
    "Refiner",
    "RefinerConfig",
    "Residual",
    "StyleHeadsConfig",
    "StyleTransformer",
    "StyleTransformerConfig",
]
