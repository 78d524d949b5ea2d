"""Training of a Feature-Style-Encoder: styles first, then the feature takes over."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rs_train.inverters.feature_style import FeatureStyle, draw, feature_replaced, styles_only
from rs_train.losses.l2 import l2_loss
from rs_train.perceptual.ir_se50 import read_trunk
from rs_train.perceptual.iresnet50 import read_iresnet50
from rs_train.tasks.base_inverter import BaseInverterTask

STATISTICS = 64  # heads that the statistics of the generator's features are taken from


class FeatureStyleTask(BaseInverterTask):
    """Trains a Feature-Style-Encoder (section 3.3 of its paper).

    Half of a batch are samples of the generator (`training.generated`). The input of convolution K
    goes from the generator's own to the encoder's within `training.ramp` steps; a small loss keeps
    both close. The published training neither regresses the samples' w nor draws the styles alone;
    in short ones the styles are neglected otherwise, and with them all that domains change.
    """

    model_name = "feature_style"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As the base inverters."""
        super().__init__(*arguments, **options)
        if options.get("init") is None:
            self._start()
        self.share = torch.zeros((), device=self.device)  # of the encoder's feature

    @staticmethod
    def read_trunk(path: Path) -> dict[str, Tensor]:
        """A base inverter's trunk, or the public iResNet-50's."""
        return read_trunk(path) if path.suffix == ".safetensors" else read_iresnet50(path)

    def invert(self, image: Tensor) -> Tensor:
        """w_plus alone."""
        return self.model(image).w_plus

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update, with as much of the encoder's feature as the step has."""
        self.share.fill_(min(step / max(self.config.training.ramp, 1), 1.0))
        return super().step(step, batch)

    def stages(self, photo: Tensor) -> list[Tensor]:
        """From styles alone, then with the feature."""
        found = self.model(photo)
        return [
            self.pooled(draw(self.generator.synthesis, self.model, found, move=move))
            for move in (styles_only, feature_replaced)
        ]

    @torch.no_grad()
    def _start(self) -> None:
        z = torch.randn(STATISTICS, self.generator.config.z_dim, device=self.device)
        w_plus = self.generator.broadcast(self.generator.mapping(z).float())
        feature, _ = self.generator.synthesis.lower(w_plus, split=self.model.config.layer)
        self.model.start_from(self.generator.latent_avg, feature)

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses on photos and samples, and what keeps w and the feature in range."""
        training = self.config.training
        generated = training.generated
        sample, w_true = self._generate(generated) if generated else (photo[:0], None)
        image = torch.cat([photo, sample])
        found = FeatureStyle(*(part.float() for part in self.model(image)))
        synthesis, split = self.generator.synthesis, self.model.config.layer
        own, rgb = synthesis.lower(found.w_plus, split=split)
        whole = self.model.whole(found.feature, own)
        feature = torch.lerp(own.float(), whole, self.share)
        drawn = self.pooled(synthesis.upper(feature, rgb, found.w_plus, split=split))
        losses = self.image_losses(drawn, image)
        count = len(photo)
        if not training.l2_on_photos:
            losses["l2"] = l2_loss(drawn[count:], sample)
        if w_true is not None:
            losses["latent"] = l2_loss(found.w_plus[count:], w_true)
        if training.styles:
            losses["styles"] = self._styles_loss(
                own[:count], rgb[:count], found.w_plus[:count], photo
            )
        return losses | {"feature": l2_loss(whole, own.detach())}

    def _styles_loss(self, own: Tensor, rgb: Tensor, w_plus: Tensor, photo: Tensor) -> Tensor:
        """Image losses, weighted and added up, of the photos as their styles alone give them."""
        split, training = self.model.config.layer, self.config.training
        drawn = self.pooled(self.generator.synthesis.upper(own, rgb, w_plus, split=split))
        losses = self.image_losses(drawn, photo)
        return sum(getattr(training, name) * value for name, value in losses.items())
