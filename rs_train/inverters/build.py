"""From the configuration of a run and the shape of a generator to an untrained inverter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.layers import Layer
from rs_train.config import NotNegative, Positive
from rs_train.generator import GeneratorConfig
from rs_train.inverters.e4e import E4E
from rs_train.inverters.feature_shift import FeatureShift, FeatureShiftConfig
from rs_train.inverters.feature_style import FeatureStyleConfig, FeatureStyleEncoder
from rs_train.inverters.hfgi import HFGI, HFGIConfig
from rs_train.inverters.hyperstyle import HyperStyle, HyperStyleConfig
from rs_train.inverters.one_stage import OneStage, OneStageConfig
from rs_train.inverters.psp import PSP
from rs_train.inverters.refine import Refiner, RefinerConfig
from rs_train.inverters.restyle import ReStyle, ReStyleConfig
from rs_train.inverters.style_head import StyleHeadsConfig
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig
from rs_train.inverters.trunk import Channels


@dataclass(frozen=True, kw_only=True)
class Network:
    """Size of the network that is trained; what the generator settles is read from it.

    Attributes:
        image_size: Side of the photos and of the encoder's input; divides the generator's size.
        image_height: Rows of the square that the encoder reads, those in the middle; None for all.
        channels: Widths of the trunk's stages; of HFGI's two networks the first is the widest.
        heads: Attention heads.
        refined_layers: One- and two-stage: how many of the last convolutions are refined; 0 for
            all.
        rank: One- and two-stage: tokens a layer and side, L.
        token_scale_init: One- and two-stage: first value of A and B.
        grouped: Two-stage: tokens mix inside their group alone; False for the ablation.
        scaled: Two-stage: tokens have the scales A and B; False for the ablation.
        iterations: ReStyle and HyperStyle: steps of an inversion.
        progressive: ReStyle: rows are differences from the first one, as in e4e.
        layer: Feature-Style-Encoder and FeatureShift: K, the convolution whose input they find.
        gated: Feature-Style-Encoder: its trunk is the other encoders' IR-SE50.
        pooled_side: Feature-Style-Encoder: cells in each direction that styles are read from.
        style_rank: Feature-Style-Encoder: rank of the styles' linear maps; 0 leaves it free.
        residual: Feature-Style-Encoder and FeatureShift: features are what is added to the
            generator's own.
        hidden: FeatureShift: width of its units but the last.
    """

    image_size: int = 256
    image_height: int | None = None
    channels: Channels = (64, 128, 256, 512)
    heads: int = 4
    refined_layers: int = 0
    rank: int = 32
    token_scale_init: float = 0.01
    grouped: bool = True
    scaled: bool = True
    iterations: int = 5
    progressive: bool = False
    layer: int = 5
    gated: bool = False
    pooled_side: Positive = 3
    style_rank: NotNegative = 0
    residual: bool = False
    hidden: Positive = 768


def build(model: str, network: Network, generator: GeneratorConfig) -> nn.Module:
    """Make an untrained inverter.

    Args:
        model: A key of `BUILDERS`; "two_stage" is the refiner alone, without its base inverter, as
            are "hyperstyle", "hfgi" and "feature_shift".
        network: Its size.
        generator: The generator whose latents it finds.

    Raises:
        UsageError: Sizes that do not fit together.
    """
    try:
        return BUILDERS[model](network, generator)
    except ValueError as error:
        raise UsageError(
            f"the sizes of this {model} do not fit together",
            found=str(error),
            hint="change them in section network of the preset",
        ) from error


def _sides(network: Network) -> dict[str, Any]:
    return {
        "image_size": network.image_size,
        "image_height": network.image_height,
        "channels": network.channels,
    }


def _latent(generator: GeneratorConfig) -> dict[str, int]:
    return {"num_ws": generator.table.num_ws, "w_dim": generator.w_dim}


def _attention(network: Network, generator: GeneratorConfig) -> dict[str, Any]:
    return _latent(generator) | {"z_dim": generator.z_dim, "heads": network.heads}


def _convs(generator: GeneratorConfig) -> tuple[tuple[int, int], ...]:
    return tuple((conv.in_channels, conv.out_channels) for conv in generator.table.convs)


def _tokens(network: Network, generator: GeneratorConfig) -> dict[str, Any]:
    convs = _convs(generator)
    return {
        "conv_channels": convs,
        "refined_layers": network.refined_layers or len(convs),
        "rank": network.rank,
        "token_scale_init": network.token_scale_init,
    }


def _style_transformer(network: Network, generator: GeneratorConfig) -> StyleTransformer:
    sizes = _sides(network) | _attention(network, generator)
    return StyleTransformer(StyleTransformerConfig(**sizes))


def _one_stage(network: Network, generator: GeneratorConfig) -> OneStage:
    sizes = _sides(network) | _attention(network, generator) | _tokens(network, generator)
    return OneStage(OneStageConfig(**sizes))


def _two_stage(network: Network, generator: GeneratorConfig) -> Refiner:
    sizes = _sides(network) | _tokens(network, generator)
    ablated = {"grouped": network.grouped, "scaled": network.scaled}
    return Refiner(RefinerConfig(**sizes, **ablated, heads=network.heads))


def _restyle(network: Network, generator: GeneratorConfig) -> ReStyle:
    sizes = _sides(network) | _latent(generator)
    steps = {"iterations": network.iterations, "progressive": network.progressive}
    return ReStyle(ReStyleConfig(**sizes, **steps))


def _hyperstyle(network: Network, generator: GeneratorConfig) -> HyperStyle:
    sizes = _sides(network) | {"conv_channels": _convs(generator)}
    return HyperStyle(HyperStyleConfig(**sizes, iterations=network.iterations))


def _hfgi(network: Network, generator: GeneratorConfig) -> HFGI:
    side = network.image_size // 4
    fused = generator.table.by_name.get(f"b{side}.conv0")
    if fused is None:
        raise ValueError(f"the generator has no features of {side}×{side}, a quarter of image_size")
    return HFGI(HFGIConfig(network.image_size, fused.out_channels, network.channels[0]))


def _split(network: Network, generator: GeneratorConfig) -> Layer:
    """The convolution whose input is replaced."""
    convs = generator.table.convs
    if not 0 < network.layer < len(convs):
        raise ValueError(f"layer {network.layer} is none of the convolutions 1 to {len(convs) - 1}")
    return convs[network.layer]


def _feature_style(network: Network, generator: GeneratorConfig) -> FeatureStyleEncoder:
    split = _split(network, generator)
    config = FeatureStyleConfig(
        image_size=network.image_size,
        channels=network.channels,
        gated=network.gated,
        layer=network.layer,
        feature_side=split.resolution // split.up,
        feature_channels=split.in_channels,
        pooled_side=network.pooled_side,
        style_rank=network.style_rank,
        residual=network.residual,
        **_latent(generator),
    )
    return FeatureStyleEncoder(config)


def _feature_shift(network: Network, generator: GeneratorConfig) -> FeatureShift:
    channels = _split(network, generator).in_channels
    config = FeatureShiftConfig(network.layer, channels, network.hidden, network.residual)
    return FeatureShift(config)


def _with_heads(cls: Callable[[StyleHeadsConfig], nn.Module]) -> Callable[..., nn.Module]:
    def build_it(network: Network, generator: GeneratorConfig) -> nn.Module:
        return cls(StyleHeadsConfig(**_sides(network), **_latent(generator)))

    return build_it


BUILDERS: dict[str, Callable[[Network, GeneratorConfig], nn.Module]] = {
    "style_transformer": _style_transformer,
    "psp": _with_heads(PSP),
    "e4e": _with_heads(E4E),
    "restyle": _restyle,
    "one_stage": _one_stage,
    "two_stage": _two_stage,
    "hyperstyle": _hyperstyle,
    "hfgi": _hfgi,
    "feature_style": _feature_style,
    "feature_shift": _feature_shift,
}
