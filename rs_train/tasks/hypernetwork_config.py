"""What a hypernetwork's training is configured by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rs_train.config import Positive
from rs_train.devices import Precision
from rs_train.domains.hypernetwork import Predicts
from rs_train.domains.pool import PoolConfig
from rs_train.loop import LoopConfig
from rs_train.perceptual.augment import Augmentation


@dataclass(frozen=True, kw_only=True)
class HypernetworkSize:
    """Size of the network; the generator settles the rest.

    Attributes:
        embed_dim: Length of the CLIP's embeddings.
        predicts: "modulation" for HyperDomainNet's m, or "tokens" for P and Q.
        rank: Tokens: rows of P and Q a layer, L.
        scale_init: Tokens: first value of the scales A and B.
        width: Of all hidden layers.
        trunk_depth: Layers that all convolutions share.
        head_depth: Layers of each convolution's own.
    """

    embed_dim: Positive = 512
    predicts: Predicts = "modulation"
    rank: Positive = 8
    scale_init: float = 0.1
    width: Positive = 512
    trunk_depth: Positive = 4
    head_depth: Positive = 2


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the losses.

    Attributes:
        direction: CLIP's direction loss between the source's text and each head's domain.
        in_domain_angle: Change of the angles between the CLIP embeddings of a domain's heads.
        target_direction: Between heads of different domains: CLIP's direction loss between these.
        size: Size of the change: with modulation the domain norm, with tokens that of dW.
        l1: With pictures: absolute difference to the true picture.
        perceptual: With pictures and ArcFace: feature distance to the true picture.
    """

    direction: float = 1.0
    in_domain_angle: float = 0.0
    target_direction: float = 0.4
    size: float = 0.0
    l1: float = 0.0
    perceptual: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HypernetworkTraining:
    """Recipe of a hypernetwork.

    Attributes:
        heads: Heads of each domain of a batch; in-domain angles take two or more.
        mixtures: Mixed embeddings of a batch, each with as many heads: beside its domains, or by
            text alone in their place.
        least_cosine: How near a mixture's target is drawn to it.
        picture_share: With pictures: share of the heads that are given a picture's embedding
            instead of a text's.
        lr: Adam's learning rate.
        betas: Adam's.
        decay_from: Share of the steps after which the rate follows a half cosine to 0; 1 for never.
        view: Random views in front of CLIP, the same for both pictures of a pair.
        precision: "bf16" for autocast, or "fp32".
    """

    heads: Positive = 1
    mixtures: int = 0
    least_cosine: float = 0.95
    picture_share: float = 0.5
    lr: float = 5e-5
    betas: tuple[float, float] = (0.9, 0.999)
    decay_from: float = 1.0
    view: Augmentation = field(default_factory=Augmentation)
    precision: Precision = "bf16"


@dataclass(frozen=True, kw_only=True)
class HypernetworkRun:
    """Everything a hypernetwork's training is configured by.

    Attributes:
        source: What the generator draws.
        domains: Wordings of each domain, by its name; the first one names its direction.
        network: Its size.
        training: Its recipe.
        weights: Of the losses.
        pool: Heads to train on.
        loop: Lengths; an item of a batch is a domain.
    """

    source: str = "a photo of a person"
    domains: Mapping[str, tuple[str, ...]]
    network: HypernetworkSize = field(default_factory=HypernetworkSize)
    training: HypernetworkTraining = field(default_factory=HypernetworkTraining)
    weights: Weights = field(default_factory=Weights)
    pool: PoolConfig = field(default_factory=PoolConfig)
    loop: LoopConfig
