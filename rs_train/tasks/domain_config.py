"""What the training of a domain is configured by."""

from dataclasses import dataclass, field
from typing import Literal

from rs_train.devices import Precision
from rs_train.domains.pool import PoolConfig
from rs_train.inverters.optimise import Optimisation
from rs_train.loop import LoopConfig
from rs_train.perceptual.augment import Augmentation


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the losses; a loss whose network or pictures are missing is left out.

    Attributes:
        direction: CLIP's direction loss: between the prompts; in MindTheGap and DiFa from pictures
            of the source to the reference.
        in_domain_angle: Change of the angles between the heads' CLIP embeddings; with a prompt.
        adversarial: Non-saturating loss of the patch discriminator against the references.
        texture: Sliced Wasserstein distance of coarse colours and of ArcFace's features to the
            references'.
        structure: Lack of correlation of local contrast with the source head; not of pairs.
        identity: 1 - cosine of ArcFace's embedding with the source head's.
        penalty: Size of the change.
        l1: Paired: absolute difference to the true picture.
        l2: GOGA, MindTheGap: squared error of the adapted inversion to the reference.
        perceptual: Paired, GOGA, MindTheGap: feature distance (LPIPS) to the same picture.
        style: GOGA: sliced Wasserstein distance of deep features to the adapted inversion's.
        laplacian: GOGA: difference of the changes of heads that are neighbours, in CLIP.
        within: MindTheGap: 1 - cosine of CLIP's differences to the reference, before and after.
        reference: MindTheGap: 1 - cosine of the adapted inversion and the reference, in CLIP.
        local: DiFa: relaxed earth mover's distance of CLIP's tokens to the reference's.
        consistency: DiFa: change of those channels of the inverted latents that change least.
    """

    direction: float = 0.5
    in_domain_angle: float = 0.0
    adversarial: float = 0.3
    texture: float = 1.0
    structure: float = 3.0
    identity: float = 0.3
    penalty: float = 0.02
    l1: float = 1.0
    l2: float = 1.0
    perceptual: float = 0.5
    style: float = 1.0
    laplacian: float = 0.0
    within: float = 0.5
    reference: float = 1.0
    local: float = 1.0
    consistency: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DomainTraining:
    """Recipe of a domain.

    Attributes:
        parameterisation: What changes: "tokens"; "style_space" for offsets of the styles;
            "domain_modulation" for factors on the layers' inputs; of a copy of the synthesis
            network, "affine_plus" for its affine layers and one block, or "full".
        rank: Tokens: rows of P and Q a layer, L.
        scale_init: Tokens: first value of A and B.
        torgb: Full, style space: whether the toRGB layers learn as well.
        first_layer: Style space, domain modulation: layers that read an earlier row of w_plus are
            held as they are.
        offset_block: Affine plus: resolution of the block whose kernels have offsets.
        lr: Adam's learning rate of the change.
        lr_end: The rate at the end of its decay.
        betas: Adam's.
        decay_from: Share of the steps after which the rate follows a half cosine to `lr_end`.
        average: Decay of the exponential average that is written.
        structure_enough: Correlation of local contrast from which on structure asks for no more.
        discriminator_width: Channels of the discriminator's first layer.
        discriminator_lr: Adam's learning rate of the discriminator.
        r1_gamma: Weight of the R1 penalty.
        r1_every: Steps between penalties (lazy regularisation).
        guide_view: Random views in front of CLIP, the same for both pictures of a pair.
        discriminator_view: Random views of the discriminator's inputs.
        precision: "bf16" for autocast, or "fp32".
    """

    parameterisation: Literal[
        "tokens", "style_space", "domain_modulation", "affine_plus", "full"
    ] = "tokens"
    rank: int = 8
    scale_init: float = 0.01
    torgb: bool = False
    first_layer: int = 0
    offset_block: int = 64
    lr: float = 0.01
    lr_end: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    decay_from: float = 0.6
    average: float = 0.99
    structure_enough: float = 0.7
    discriminator_width: int = 32
    discriminator_lr: float = 0.002
    r1_gamma: float = 1.0
    r1_every: int = 8
    guide_view: Augmentation = field(default_factory=Augmentation)
    discriminator_view: Augmentation = field(default_factory=Augmentation)
    precision: Precision = "bf16"


@dataclass(frozen=True, kw_only=True)
class OneShot:
    """How a domain is learnt from one picture.

    Attributes:
        way: "goga", "mindthegap" or "difa"; see the classes of `rs_train.tasks`.
        coarse_rows: Rows of w_plus that a head keeps where the finer ones are the reference's;
            DiFa's consistency looks at them alone.
        mixed_share: GOGA: share of the heads of a batch that take them.
        start_from_reference: GOGA: begin with the reference's inverted tokens.
        inversion: MindTheGap: how the reference is inverted, by optimisation.
    """

    way: Literal["goga", "mindthegap", "difa"] = "goga"
    coarse_rows: int = 8
    mixed_share: float = 1.0
    start_from_reference: bool = False
    inversion: Optimisation = field(default_factory=Optimisation)


@dataclass(frozen=True, kw_only=True)
class DomainRun:
    """Everything a domain training is configured by."""

    training: DomainTraining = field(default_factory=DomainTraining)
    weights: Weights = field(default_factory=Weights)
    one_shot: OneShot = field(default_factory=OneShot)
    pool: PoolConfig = field(default_factory=PoolConfig)
    loop: LoopConfig
