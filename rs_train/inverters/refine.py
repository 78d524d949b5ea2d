"""RefineStyle's second stage: what a first inversion missed becomes low-rank kernel residuals.

Xia et al., arXiv 2410.06104. Learned tokens read the image beside its first inversion and leave,
layer by layer, as P and Q of the residual PᵀQ that is added to the modulated kernel (Eqs. 2–4).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.generator.synthesis import Synthesis
from rs_train.generator.tokens import PackedTokens
from rs_train.inverters.attention import GroupedDecoderLayer
from rs_train.inverters.pooling import middle_rows, pool_to
from rs_train.inverters.trunk import Channels, FeaturePyramid, check_sides

FFHQ_CONVS = (
    *((512, 512),) * 9,
    *((512, 256), (256, 256)),
    *((256, 128), (128, 128)),
    *((128, 64), (64, 64)),
    *((64, 32), (32, 32)),
)


class Residual(NamedTuple):
    """Packed tokens in layer-table order: P [N, L, ΣCout], Q [N, L, ΣCin]."""

    P: Tensor
    Q: Tensor


def check_refined(refined_layers: int, conv_channels: tuple[tuple[int, int], ...]) -> None:
    """Refuse an Nr that the synthesis does not have.

    Raises:
        ValueError: It is not in 1 … the number of convolutions.
    """
    if not 1 <= refined_layers <= len(conv_channels):
        raise ValueError(f"refined_layers {refined_layers} is not in 1…{len(conv_channels)}")


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes of a refiner; the defaults are the published ones for 1024² faces.

    Attributes:
        image_size: side S of the encoder's input, a multiple of 16.
        image_height: rows of the square that the encoder reads, those in the middle; a multiple of
            16, None for all.
        conv_channels: (Cin, Cout) of *every* convolution of the synthesis, in layer-table order.
        refined_layers: Nr; the last Nr convolutions are refined, P and Q of the others are zero.
        rank: L, tokens a layer and side.
        channels: widths of the trunk's stages; the last is the width of the tokens.
        heads: attention heads.
        token_scale_init: first value of A and of B (Eq. 4).
        grouped: whether tokens mix inside their group alone; False for the ablation.
        scaled: whether A and B are there; False for the ablation.
    """

    image_size: int = 256
    image_height: int | None = None
    conv_channels: tuple[tuple[int, int], ...] = FFHQ_CONVS
    refined_layers: int = 17
    rank: int = 32
    channels: Channels = (64, 128, 256, 512)
    heads: int = 4
    token_scale_init: float = 0.01
    grouped: bool = True
    scaled: bool = True

    def __post_init__(self) -> None:
        check_refined(self.refined_layers, self.conv_channels)
        if self.channels[-1] % self.heads:
            raise ValueError(f"width {self.channels[-1]} is not divisible into {self.heads} heads")
        check_sides(self.image_size, self.image_height)


class ResidualTokens(nn.Module):
    """The learned tokens P̃, Q̃ and what turns them, once they have read, into packed P and Q.

    2·Nr groups of L tokens, those of P first. Each refined layer has a linear head of its own for
    each side and one scale for each token, A and B (Eq. 4), which are 1 where `scale_init` is None.
    """

    def __init__(
        self,
        conv_channels: tuple[tuple[int, int], ...],
        refined_layers: int,
        rank: int,
        width: int,
        scale_init: float | None,
    ) -> None:
        super().__init__()
        refined = conv_channels[len(conv_channels) - refined_layers :]
        absent = conv_channels[: len(conv_channels) - refined_layers]
        self.absent_in = sum(cin for cin, _ in absent)
        self.absent_out = sum(cout for _, cout in absent)
        self.tokens = nn.Parameter(torch.randn(1, 2 * refined_layers, rank, width))
        self.heads_P = nn.ModuleList(nn.Linear(width, cout) for _, cout in refined)
        self.heads_Q = nn.ModuleList(nn.Linear(width, cin) for cin, _ in refined)
        if scale_init is None:
            self.register_buffer("A", torch.ones(refined_layers, rank, 1), persistent=False)
            self.register_buffer("B", torch.ones(refined_layers, rank, 1), persistent=False)
        else:
            self.A = nn.Parameter(torch.full((refined_layers, rank, 1), scale_init))
            self.B = nn.Parameter(torch.full((refined_layers, rank, 1), scale_init))

    def forward(self, tokens: Tensor) -> Residual:
        """Pack tokens that have read, [N, 2·Nr, L, width], into P and Q."""
        groups_P, groups_Q = tokens.chunk(2, dim=1)
        return Residual(
            _pack(groups_P, self.heads_P, self.A, self.absent_out),
            _pack(groups_Q, self.heads_Q, self.B, self.absent_in),
        )


def _pack(groups: Tensor, heads: nn.ModuleList, scale: Tensor, absent: int) -> Tensor:
    """[N, Nr, L, width] → [N, L, absent + Σ channels]; layers not refined are zero."""
    parts = [head(groups[:, n]) * scale[n] for n, head in enumerate(heads)]
    packed = torch.cat(parts, dim=-1)
    return F.pad(packed, (absent, 0)) if absent else packed


class Refiner(nn.Module):
    """Second stage of the two-stage inverter: image and first inversion in, packed P and Q out."""

    kind: ClassVar[str] = "refiner"

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels[-1]
        self.pyramid = FeaturePyramid(6, config.channels)
        self.blocks = nn.ModuleList(
            GroupedDecoderLayer(width, config.heads, grouped=config.grouped) for _ in range(3)
        )
        scale_init = config.token_scale_init if config.scaled else None
        self.residual = ResidualTokens(
            config.conv_channels, config.refined_layers, config.rank, width, scale_init
        )

    @torch.no_grad()
    def start_from(self, base: nn.Module) -> None:
        """Copy the trunk and the laterals of a base inverter, which read the same photos.

        Of the input layer the half that sees the image is copied; the half that sees the first
        inversion keeps its random start, as in ReStyle. The published refiner starts from an
        ArcFace trunk. The decoder layers stay as they are: the base inverter's have learnt to make
        its queries alike, and tokens that are alike give a residual of rank 1.

        Args:
            base: Any with a feature pyramid: StyleTransformer, pSp, e4e.

        Raises:
            ValueError: The base inverter has other widths.
        """
        if base.config.channels != self.config.channels:
            raise ValueError(f"widths {base.config.channels}, here {self.config.channels}")
        state = base.pyramid.state_dict()
        name = "trunk.input_layer.0.weight"
        own = self.pyramid.state_dict()[name]
        state[name] = torch.cat([state[name], own[:, 3:]], dim=1)
        self.pyramid.load_state_dict(state)

    def forward(self, image: Tensor, first_inversion: Tensor) -> Residual:
        """Find the residual that the first inversion lacks.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            first_inversion: [N, 3, R, R], the float image of the first synthesis, R a multiple of
                S; clamped to [-1, 1] and area-pooled to S here, so that training and graphs agree.

        Returns:
            P [N, L, ΣCout] and Q [N, L, ΣCin] over all convolutions in layer-table order.

        Raises:
            IncompatibleError: R is not a multiple of S.
        """
        first = pool_to(first_inversion.clamp(-1.0, 1.0), self.config.image_size)
        both = middle_rows(torch.cat([image, first], dim=1), self.config.image_height)
        features = self.pyramid(both)
        tokens = self.residual.tokens
        for block, level in zip(self.blocks, features, strict=True):
            tokens = block(tokens, level)
        return self.residual(tokens)

    def improve(self, image: Tensor, w_plus: Tensor, first: Tensor, synthesis: Synthesis) -> Tensor:
        """Synthesise with the residual, see `SecondStage`."""
        residual = self(image, first)
        return synthesis(w_plus, PackedTokens(P=residual.P.float(), Q=residual.Q.float()))
