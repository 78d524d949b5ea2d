"""Feature-Style-Encoder: styles, and a feature map in the place of one of the generator's.

Yao et al., "A Style-Based GAN Encoder for High Fidelity Reconstruction of Images and Videos", ECCV
2022. A face network's trunk is read twice: its stages' maps, averaged over a few cells, give w_plus
by one linear map a row; its third stage gives the input of convolution K (counted by the row of
w_plus that it reads), which replaces the generator's own. Ours may give what the generator's own
lacks instead: that begins with a sharp picture, and short trainings keep it sharp.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.generator import PackedTokens
from rs_train.generator.synthesis import Synthesis
from rs_train.inverters.iresnet import IResBranch, IResNet
from rs_train.inverters.trunk import Channels, Trunk, check_sides

CONTENT_STAGE = 2  # the third: a side of S/8


@dataclass(frozen=True)
class FeatureStyleConfig:
    """Sizes of a Feature-Style-Encoder; the defaults are the published ones for 1024² faces.

    Attributes:
        image_size: side S of the image the encoder reads, a multiple of 16.
        num_ws: rows of w_plus.
        w_dim: width of w.
        channels: widths of the trunk's stages.
        gated: the trunk is the IR-SE50 of the project's other encoders, which can lend theirs;
            False for iResNet-50.
        layer: K, the convolution whose input is replaced.
        feature_side: side of that input, S/8 or S/16.
        feature_channels: its channels.
        pooled_side: cells, in each direction, that the stages' maps are averaged over.
        style_rank: rank of the linear maps of all rows together; 0 leaves it free.
        residual: the feature map is what is added to the generator's own.
    """

    image_size: int = 256
    num_ws: int = 18
    w_dim: int = 512
    channels: Channels = (64, 128, 256, 512)
    gated: bool = False
    layer: int = 5
    feature_side: int = 16
    feature_channels: int = 512
    pooled_side: int = 3
    style_rank: int = 0
    residual: bool = False

    def __post_init__(self) -> None:
        check_sides(self.image_size, None)
        if self.image_size not in (8 * self.feature_side, 16 * self.feature_side):
            raise ValueError(
                f"image_size {self.image_size} is neither 8 nor 16 times the side "
                f"{self.feature_side} of the input of convolution {self.layer}"
            )


class FeatureStyle(NamedTuple):
    """What the encoder found.

    Attributes:
        w_plus: [N, num_ws, w_dim].
        feature: [N, C, h, w], the input of convolution K, or what is added to the generator's own.
    """

    w_plus: Tensor
    feature: Tensor


class FeatureStyleEncoder(nn.Module):
    """A picture in, w_plus and a feature map out (section 3.2)."""

    kind: ClassVar[str] = "feature_style"

    def __init__(self, config: FeatureStyleConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.trunk = Trunk(3, channels) if config.gated else IResNet(channels)
        stride = config.image_size // 8 // config.feature_side
        self.content = IResBranch(channels[CONTENT_STAGE], config.feature_channels, stride)
        pooled = sum(channels) * config.pooled_side**2
        rank = config.style_rank or pooled
        shared = nn.Linear(pooled, rank, bias=False) if config.style_rank else nn.Identity()
        self.shared = shared
        self.heads = nn.ModuleList(nn.Linear(rank, config.w_dim) for _ in range(config.num_ws))
        self.register_buffer("latent_avg", torch.zeros(config.w_dim))

    @torch.no_grad()
    def start_from(self, latent_avg: Tensor, feature: Tensor) -> None:
        """Let first guesses lie where the generator's own lie; what is added to them is nothing.

        Args:
            latent_avg: [w_dim].
            feature: samples of the generator's input of convolution K, [N, C, h, w].
        """
        std, mean = torch.std_mean(feature, dim=(0, 2, 3))
        if self.config.residual:
            std, mean = torch.zeros_like(std), torch.zeros_like(mean)
        self.latent_avg.copy_(latent_avg)
        self.content.bn3.weight.copy_(std)
        self.content.bn3.bias.copy_(mean)

    def forward(self, image: Tensor) -> FeatureStyle:
        """Invert images [N, 3, S, S] in [-1, 1]."""
        maps = self.trunk.stages(image)
        side = self.config.pooled_side
        pooled = [F.adaptive_avg_pool2d(x, side) for x in maps]
        code = self.shared(torch.cat(pooled, dim=1).flatten(1))
        rows = torch.stack([head(code) for head in self.heads], dim=1)
        return FeatureStyle(rows + self.latent_avg, self.content(maps[CONTENT_STAGE]))

    def whole(self, feature: Tensor, lower_source: Tensor) -> Tensor:
        """The input of convolution K that a feature of this encoder, [N, C, h, w], stands for."""
        return feature + lower_source if self.config.residual else feature


class Move(Protocol):
    """What becomes of the input of convolution K in a domain."""

    def __call__(self, feature: Tensor, lower_source: Tensor, lower_domain: Tensor) -> Tensor:
        """The new input, [N, C, h, w].

        Args:
            feature: as the encoder has it, whole.
            lower_source: the generator's own for the encoder's w_plus.
            lower_domain: the same in the domain.
        """


def styles_only(feature: Tensor, lower_source: Tensor, lower_domain: Tensor) -> Tensor:
    """The generator's own feature: w_plus alone counts."""
    return lower_domain


def feature_replaced(feature: Tensor, lower_source: Tensor, lower_domain: Tensor) -> Tensor:
    """The encoder's feature in any domain, as Feature-Style-Encoder has it."""
    return feature


def generator_shift(feature: Tensor, lower_source: Tensor, lower_domain: Tensor) -> Tensor:
    """F + G_K(w, domain) - G_K(w): the feature moves as the generator's own does."""
    return feature + lower_domain - lower_source


def draw(
    synthesis: Synthesis,
    encoder: FeatureStyleEncoder,
    found: FeatureStyle,
    domain: PackedTokens | None = None,
    *,
    move: Move,
) -> Tensor:
    """Synthesise from styles and a feature.

    Args:
        synthesis: The synthesis network.
        encoder: The encoder.
        found: What it found.
        domain: Tokens of the domain, a row a picture; None for none.
        move: `styles_only`, `feature_replaced`, `generator_shift`, or a FeatureShift's `edit`.

    Returns:
        Unclamped images [N, 3, R, R] with the constant noise.
    """
    split = encoder.config.layer
    w_plus, feature = (part.float() for part in found)
    source, image = synthesis.lower(w_plus, split=split)
    moved = source
    if domain is not None:
        moved, image = synthesis.lower(w_plus, domain, split=split)
    x = move(encoder.whole(feature, source), source, moved)
    return synthesis.upper(x.float(), image, w_plus, domain, split=split)
