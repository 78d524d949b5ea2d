"""Parameters and multiply-accumulates of the published models, counted on the meta device."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rs_train.inverters import (
    E4E,
    PSP,
    OneStage,
    OneStageConfig,
    Refiner,
    RefinerConfig,
    ReStyle,
    ReStyleConfig,
    StyleHeadsConfig,
    StyleTransformer,
    StyleTransformerConfig,
)
from rs_train.inverters.attention import DecoderLayer
from rs_train.inverters.refine import FFHQ_CONVS
from rs_train.inverters.trunk import FeaturePyramid, Trunk


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, *inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model.eval()(*inputs)
    return counter.get_total_flops() // 2


@pytest.fixture(autouse=True)
def meta():
    with torch.device("meta"):
        yield


def test_style_transformer_has_the_published_parameters():
    assert parameters(StyleTransformer(StyleTransformerConfig())) == 40_620_224


def test_refiner_has_the_published_parameters():
    assert parameters(Refiner(RefinerConfig())) == 47_129_888


def test_one_stage_has_the_published_parameters():
    assert parameters(OneStage(OneStageConfig())) == 46_384_800


@pytest.mark.parametrize("cls", [PSP, E4E])
@pytest.mark.parametrize(
    ("num_ws", "expected"), [(18, 267_136_704), (16, 238_293_696), (14, 209_450_688)]
)
def test_encoders_with_style_heads_have_the_published_parameters(cls, num_ws, expected):
    assert parameters(cls(StyleHeadsConfig(num_ws=num_ws))) == expected


def test_restyle_has_the_published_parameters():
    assert parameters(ReStyle(ReStyleConfig())) == 205_585_792


def test_parts_have_the_published_parameters():
    channels = (64, 128, 256, 512)
    trunk = Trunk(3, channels)
    assert parameters(trunk.input_layer) == 1_920
    assert parameters(Trunk(6, channels).input_layer) == 3_648
    assert parameters(trunk.body) == 30_948_160
    assert parameters(FeaturePyramid(3, channels)) - parameters(trunk) == 197_632
    assert parameters(DecoderLayer(512, 4)) == 3_154_432


def test_ffhq_convolutions_sum_as_published():
    assert len(FFHQ_CONVS) == 17
    assert sum(cin for cin, _ in FFHQ_CONVS) == 6_048
    assert sum(cout for _, cout in FFHQ_CONVS) == 5_568


def test_style_transformer_costs_what_is_published():
    model = StyleTransformer(StyleTransformerConfig())
    assert macs(model, torch.zeros(1, 3, 256, 256)) / 1e9 == pytest.approx(36.29, abs=0.005)


def test_refiner_costs_what_is_published():
    model = Refiner(RefinerConfig())
    images = torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 1024, 1024)
    residual = 32 * sum(cin * cout for cin, cout in FFHQ_CONVS)  # PᵀQ of every layer
    assert (macs(model, *images) + residual) / 1e9 == pytest.approx(51.09, abs=0.005)


def test_default_shapes():
    w_plus = StyleTransformer(StyleTransformerConfig()).eval()(torch.zeros(2, 3, 256, 256))
    assert w_plus.shape == (2, 18, 512)
    P, Q = Refiner(RefinerConfig()).eval()(
        torch.zeros(2, 3, 256, 256), torch.zeros(2, 3, 1024, 1024)
    )
    assert P.shape == (2, 32, 5_568)
    assert Q.shape == (2, 32, 6_048)


def test_pyramid_maps():
    maps = FeaturePyramid(6, (64, 128, 256, 512)).eval()(torch.zeros(1, 6, 256, 256))
    assert [tuple(m.shape[1:]) for m in maps] == [(512, 16, 16), (512, 32, 32), (512, 64, 64)]
