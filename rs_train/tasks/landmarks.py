"""Training of the landmark network on composites."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rs_runtime.faces import Face, faces_of_grid
from rs_train.capture import numbers
from rs_train.checkpoint import save_model
from rs_train.config import Positive
from rs_train.devices import Precision, autocast, pick_device
from rs_train.landmarks.composites import Composites, Example
from rs_train.landmarks.measure import measure
from rs_train.landmarks.network import STRIDE, LandmarkConfig, LandmarkNetwork
from rs_train.loop import LoopConfig
from rs_train.optimizers import minimise, set_rate
from rs_train.pixels import from_levels
from rs_train.schedule import scheduled_rate

_HOLDS = 0.12  # cells this near to a face's centre, in sides of its crop, hold it
_IGNORED = 0.24  # up to here a cell may say what it likes
_SHOWN = 24
_VALIDATED = 200


@dataclass(frozen=True, kw_only=True)
class LandmarkTraining:
    """Recipe of the landmark network.

    Attributes:
        lr: Peak learning rate of AdamW, then a half cosine to zero.
        warmup: Steps of linear warm-up.
        weight_decay: Of kernels.
        points_weight: Weight of the points' loss beside that of finding.
        precision: "bf16" for autocast, or "fp32".
    """

    lr: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.01
    points_weight: float = 4.0
    precision: Precision = "bf16"


@dataclass(frozen=True, kw_only=True)
class LandmarkRun:
    """Everything a landmark training is configured by."""

    model: LandmarkConfig = field(default_factory=LandmarkConfig)
    training: LandmarkTraining = field(default_factory=LandmarkTraining)
    validate_every: Positive = 500
    loop: LoopConfig


class LandmarkTask:
    """Focal loss on where faces are, smooth L1 on their points, in sides of the face's crop."""

    def __init__(
        self,
        config: LandmarkRun,
        out: Path,
        validation: Composites | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            config: The run.
            out: Target file.
            validation: Held-out photos: measured at intervals and shown in the sample grids.
        """
        torch.manual_seed(config.loop.seed)
        self.config = config
        self.out = out
        self.device = pick_device()
        self.model = LandmarkNetwork(config.model)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.modules = {"model": self.model}
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        decay = config.training.weight_decay
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.training.lr,
        )
        self.optimizers = {"model": self.optimizer}
        self._validation = validation

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update on one batch of photos."""
        training, steps = self.config.training, self.config.loop.steps
        rate = scheduled_rate(step, peak=training.lr, steps=steps, warmup=training.warmup)
        set_rate(self.optimizer, rate)
        self.model.train()
        image = batch["image"].to(self.device).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, training.precision):
            logits, points = self.model(image)
        wanted = batch["points"].to(self.device)
        losses = landmark_losses(logits, points, wanted, self.model.centres)
        loss = losses["score"] + training.points_weight * losses["points"]
        minimise(self.optimizer, [loss], clip_norm=5.0)
        figures = numbers({"loss": loss, **losses})
        if self._validation is not None and (
            (step + 1) % self.config.validate_every == 0 or step + 1 == steps
        ):
            figures |= self._validate()
        return figures

    @torch.no_grad()
    def samples(self) -> np.ndarray | None:
        """Photos with the points of the cells that are sure of a face."""
        if self._validation is None:
            return None
        self.model.eval()
        examples = [self._validation.example(index) for index in range(_SHOWN)]
        image = self._validation.batch(range(_SHOWN))["image"].to(self.device)
        logits, points = (value.cpu().numpy() for value in self.model(image))
        drawn = [
            _draw(own, found[score > 0])
            for own, found, score in zip(examples, points, logits, strict=True)
        ]
        return np.concatenate([np.concatenate(drawn[k : k + 8], axis=1) for k in (0, 8, 16)])

    def _validate(self) -> dict[str, float]:
        """What one look at held-out photos finds; no error while it finds nothing."""
        self.model.eval()
        examples = (self._validation.example(index) for index in range(_VALIDATED))
        found = asdict(measure(self._find, examples))
        return {name: value for name, value in found.items() if math.isfinite(value)}

    @torch.no_grad()
    def _find(self, photo: np.ndarray) -> list[Face]:
        image = from_levels(torch.from_numpy(photo).permute(2, 0, 1)[None]).to(self.device)
        logits, points = self.model(image)
        return faces_of_grid(logits[0].sigmoid().cpu().numpy(), points[0].cpu().numpy())

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the network, fp16."""
        save_model(self.out, self.model, record, dtype=torch.float16)
        return [self.out]


def landmark_losses(
    logits: Tensor, points: Tensor, wanted: Tensor, centres: Tensor
) -> dict[str, Tensor]:
    """The two losses of a batch.

    Args:
        logits: [N, G] of the grid's cells.
        points: [N, G, 5, 2] in pixels.
        wanted: [N, F, 5, 2] in pixels, NaN for faces that are not there.
        centres: [G, 2], the cells' centres in pixels.

    Returns:
        "score", focal (Lin et al., 2017, gamma = 2), over the number of cells that hold a face,
        and "points", the mean over these cells.
    """
    is_there = wanted.isfinite().all(dim=(2, 3))
    wanted = wanted.nan_to_num(0.0)
    sides = crop_sides(wanted).masked_fill(~is_there, 1.0)
    distance = torch.cdist(centres[None], wanted.mean(dim=2))  # [N, G, F]
    reach = (_HOLDS * sides).clamp(min=0.75 * STRIDE)[:, None]
    relative = (distance / reach).masked_fill(~is_there[:, None], torch.inf)
    nearest, face = relative.min(dim=2)
    holds, ignored = nearest <= 1, (nearest > 1) & (nearest <= _IGNORED / _HOLDS)
    count = holds.sum().clamp(min=1)

    target = holds.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    doubt = (logits.sigmoid() - target).abs()
    score = (doubt**2 * entropy).masked_fill(ignored, 0).sum() / count

    rows, cells = holds.nonzero(as_tuple=True)
    own = face[rows, cells]
    error = (points[rows, cells] - wanted[rows, own]) / sides[rows, own][:, None, None]
    near = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.02, reduction="sum")
    return {"score": score, "points": near / (10 * count)}


def crop_sides(points: Tensor) -> Tensor:
    """Sides of the faces' crops, [...], as `rs_runtime.alignment.ffhq_square` has them."""
    eyes = points[..., :2, :].mean(dim=-2)
    across = points[..., 1, :] - points[..., 0, :]
    down = points[..., 3:, :].mean(dim=-2) - eyes
    return 2 * torch.maximum(2.0 * across.norm(dim=-1), 1.8 * down.norm(dim=-1))


def _draw(example: Example, found: np.ndarray) -> np.ndarray:
    picture = example.picture.copy()
    for x, y in found.reshape(-1, 2).round().astype(int).tolist():
        cv2.circle(picture, (x, y), 1, (0, 255, 0), -1)
    return picture
