"""Training of the judges: CLIP, ArcFace and the metric network."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.capture import numbers
from rs_train.checkpoint import save_model
from rs_train.devices import Precision, autocast, pick_device
from rs_train.loop import LoopConfig
from rs_train.losses.angular_margin import angular_margin_loss
from rs_train.losses.contrastive import contrastive_loss
from rs_train.optimizers import minimise, set_rate
from rs_train.perceptual.arcface import ArcFace, ArcFaceConfig
from rs_train.perceptual.augment import Augmentation, augment
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.perceptual.labelled import LabelledPortraits
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.perceptual.templates import TEMPLATES, fill_templates, shortened
from rs_train.perceptual.tokenizer_file import train_tokenizer
from rs_train.portraits.domains import DomainStyle, domain_style
from rs_train.portraits.wordings import Wording, draw_wording
from rs_train.schedule import scheduled_rate

MAX_LOGIT_SCALE = 100.0


@dataclass(frozen=True, kw_only=True)
class JudgeTraining:
    """Recipe of a judge.

    Attributes:
        lr: Peak learning rate of AdamW, reached after `warmup` steps, then a half cosine to zero.
        warmup: Steps of linear warm-up.
        weight_decay: Of matrices and kernels; vectors have none.
        margin: Added angle of the identity loss, in radians; grows from 0 over `margin_ramp`.
        margin_ramp: Share of the steps over which it grows: a full margin from the start hides
            what tells people apart.
        scale: Factor of the cosines in the identity loss.
        identity_weight: Weight of the identity loss beside other losses.
        attribute_weight: Weight of the attribute regression.
        precision: "bf16" for autocast, or "fp32".
        augmentation: Random views of the training pictures.
    """

    lr: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.05
    margin: float = 0.3
    margin_ramp: float = 0.4
    scale: float = 24.0
    identity_weight: float = 0.5
    attribute_weight: float = 1.0
    precision: Precision = "bf16"
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True, kw_only=True)
class ClipTraining(JudgeTraining):
    """Recipe of a CLIP.

    Attributes:
        vocabulary: Most entries of a tokenizer that is trained on the captions; 0 keeps the
            model's own.
        rewording: Share of the texts that tell the picture's look in other words than its caption.
    """

    vocabulary: int = 0
    rewording: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ClipRun:
    """Everything a CLIP training is configured by."""

    model: ClipConfig
    training: ClipTraining = field(default_factory=ClipTraining)
    loop: LoopConfig


@dataclass(frozen=True, kw_only=True)
class ArcFaceRun:
    """Everything an ArcFace training is configured by."""

    model: ArcFaceConfig
    training: JudgeTraining = field(default_factory=JudgeTraining)
    loop: LoopConfig


@dataclass(frozen=True, kw_only=True)
class MetricRun:
    """Everything a metric network's training is configured by."""

    model: MetricConfig
    training: JudgeTraining = field(default_factory=JudgeTraining)
    loop: LoopConfig


class JudgeTask(ABC):
    """What the three judges share: optimiser, schedule, augmentation, saving in fp16.

    A subclass computes `losses`; their sum is minimised.
    """

    def __init__(
        self,
        config: ClipRun | ArcFaceRun | MetricRun,
        model: nn.Module,
        data: LabelledPortraits,
        out: Path,
        prototypes: int = 0,
    ) -> None:
        """Prepare the training of `model`, to be written to `out`.

        Args:
            config: The run.
            model: The judge.
            data: The pictures, for their labels.
            out: Target file.
            prototypes: Number of identities to hold class directions for; used in training only.
        """
        self.config = config
        self.out = out
        self.labels = data.labels
        self.device = pick_device()
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"model": self.model}
        parameters = list(model.named_parameters())
        if prototypes:
            head = nn.Linear(config.model.embed_dim, prototypes, bias=False, device=self.device)
            nn.init.normal_(head.weight)
            self.prototypes = head.weight
            self.modules["prototypes"] = head
            parameters.append(("prototypes", head.weight))
        decayed = [p for _, p in parameters if p.ndim > 1]
        others = [p for _, p in parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.training.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.training.lr,
        )
        self.optimizers = {"model": self.optimizer}
        self._progress = 0.0  # share of the steps done

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update on one batch of pictures and their indices."""
        training = self.config.training
        self._progress = step / self.config.loop.steps
        set_rate(self.optimizer, learning_rate(step, self.config.loop.steps, training))
        self.model.train()
        image = augment(batch["image"].to(self.device), training.augmentation)
        image = image.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, training.precision):
            losses = self.losses(image, batch["index"])
            loss = sum(losses.values())
        minimise(self.optimizer, [loss])
        return numbers({"loss": loss, **losses})

    @abstractmethod
    def losses(self, image: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Weighted losses of a batch; `index` are the pictures' rows in the labels."""

    def samples(self) -> np.ndarray | None:
        """None: judges have no pictures to show."""
        return None

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the judge, fp16."""
        save_model(self.out, self.model, record, dtype=torch.float16)
        return [self.out]

    def _identity_loss(self, embedding: Tensor, index: Tensor) -> Tensor:
        training = self.config.training
        return angular_margin_loss(
            embedding.float(),
            self.prototypes,
            self.labels.identity[index].to(self.device),
            margin=training.margin * min(self._progress / max(training.margin_ramp, 1e-6), 1.0),
            scale=training.scale,
        )


class ClipTask(JudgeTask):
    """Contrastive training on captions and looks in other words, each in a random template."""

    def __init__(self, config: ClipRun, data: LabelledPortraits, out: Path) -> None:
        torch.manual_seed(config.loop.seed)
        names = data.labels.domains if config.training.rewording else ()
        self._styles = [domain_style(name) for name in names]
        model = config.model
        if config.training.vocabulary:
            texts = _all_texts(data.labels.captions, self._styles)
            model = replace(model, tokenizer=train_tokenizer(texts, config.training.vocabulary))
        super().__init__(replace(config, model=model), Clip(model), data, out)

    def losses(self, image: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The symmetric contrastive loss."""
        drawn = [self._draw_text(i) for i in index.tolist()]
        picks = torch.randint(len(TEMPLATES), (len(drawn),)).tolist()
        texts = [TEMPLATES[k].format(w.text) for k, w in zip(picks, drawn, strict=True)]
        network = self.model.network
        with torch.no_grad():
            network.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        loss = contrastive_loss(
            self.model.embed_image(image),
            self.model.embed_text(texts),
            network.logit_scale.exp(),
            self._is_true(drawn, index),
        )
        return {"contrastive": loss}

    def _draw_text(self, index: int) -> Wording:
        """The look in other words; or the whole caption in half of the cases, or a shorter form."""
        training, labels = self.config.training, self.labels
        if training.rewording and torch.rand(()) < training.rewording:
            rng = np.random.default_rng(int(torch.randint(1 << 31, ())))
            return draw_wording(self._styles[labels.domain[index]], rng)
        caption = labels.captions[index]
        choice = int(torch.randint(4, ()))
        return Wording(caption if choice > 1 else shortened(caption)[choice])

    def _is_true(self, drawn: list[Wording], index: Tensor) -> Tensor:
        """Bool [N, N]: whether text j (column) is true of picture i (row)."""
        numbers = {wording.text: n for n, wording in enumerate(drawn)}
        number = torch.tensor([numbers[wording.text] for wording in drawn])
        true = number[:, None] == number[None, :]
        if self._styles:
            styles = [self._styles[domain] for domain in self.labels.domain[index].tolist()]
            true |= torch.tensor([[w.suits(style) for w in drawn] for style in styles])
        return true.to(self.device)

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the judge; entries that no text has are set to zero, so that they say nothing."""
        texts = _all_texts(self.labels.captions, self._styles)
        seen = torch.cat([self.model.tokenizer([text])[0] for text in texts]).unique()
        table = self.model.network.token_embedding.weight
        unseen = torch.ones(len(table), dtype=torch.bool)
        unseen[seen] = False
        with torch.no_grad():
            table[unseen.to(table.device)] = 0
        return super().finish(run_dir, record)


def _all_texts(captions: Sequence[str], styles: Sequence[DomainStyle]) -> list[str]:
    """All forms of the captions, many rewordings of the looks and the templates; always equal."""
    texts = dict.fromkeys(form for full in captions for form in (full, *shortened(full)))
    rng = np.random.default_rng(0)
    wordings = [draw_wording(style, rng).text for style in styles for _ in range(30)]
    return [*texts, *wordings, *fill_templates("")]


class ArcFaceTask(JudgeTask):
    """Identity classification with an additive angular margin."""

    def __init__(self, config: ArcFaceRun, data: LabelledPortraits, out: Path) -> None:
        torch.manual_seed(config.loop.seed)
        people = int(data.labels.identity.max()) + 1
        super().__init__(config, ArcFace(config.model), data, out, prototypes=people)

    def losses(self, image: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The margin loss."""
        return {"identity": self._identity_loss(self.model.embed(image), index)}


class MetricTask(JudgeTask):
    """Domain, renderer parameters and identity at once."""

    def __init__(self, config: MetricRun, data: LabelledPortraits, out: Path) -> None:
        labels = data.labels
        model = replace(config.model, domains=labels.domains, attributes=labels.attribute_names)
        config = replace(config, model=model)
        torch.manual_seed(config.loop.seed)
        people = int(labels.identity.max()) + 1
        super().__init__(config, MetricNetwork(model), data, out, prototypes=people)
        self._mean = labels.attributes.mean(dim=0)
        self._deviation = labels.attributes.std(dim=0).clamp(min=1e-3)

    def losses(self, image: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the domain, squared error of standardised attributes, margin loss."""
        training = self.config.training
        heads = self.model(image)
        wanted = (self.labels.attributes[index] - self._mean) / self._deviation
        return {
            "domain": F.cross_entropy(heads["domain"], self.labels.domain[index].to(self.device)),
            "attributes": training.attribute_weight
            * F.mse_loss(heads["attributes"], wanted.to(self.device)),
            "identity": training.identity_weight * self._identity_loss(heads["identity"], index),
        }


def learning_rate(step: int, steps: int, training: JudgeTraining) -> float:
    """Linear warm-up, then a half cosine down to zero at `steps`."""
    warmup = training.warmup
    return scheduled_rate(step, peak=training.lr, steps=steps, warmup=warmup, decay_start=warmup)
