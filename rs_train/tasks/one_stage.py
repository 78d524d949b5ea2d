"""Training of the one-stage inverter: w_plus and tokens at once, from photos alone."""

import torch
from torch import Tensor

from rs_train.generator import PackedTokens
from rs_train.inverters.one_stage import Codes
from rs_train.losses.diversity import diversity_loss
from rs_train.losses.l2 import l2_loss
from rs_train.tasks.base_inverter import StyleTransformerTask


class OneStageTask(StyleTransformerTask):
    """Trains the one-stage inverter against a frozen synthesis network.

    The losses look at the refined image alone: nothing asks w_plus for a likeness of its own.
    """

    model_name = "one_stage"

    def stages(self, photo: Tensor) -> list[Tensor]:
        """What w_plus gives alone, and the refined image."""
        codes = self.model(photo, self._query())
        plain = self.synthesize(codes.w_plus)
        return [self.pooled(plain), self.pooled(self._refined(codes))]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses of the refined photos; on samples of the generator the error of w_plus."""
        count = self.config.training.generated
        sample, w_true = self._generate(count) if count else (photo[:0], None)
        codes = self.model(torch.cat([photo, sample]), self._query())
        own = Codes(*(part[: len(photo)] for part in codes))
        losses = self.image_losses(self.pooled(self._refined(own)), photo)
        if w_true is not None:
            losses["latent"] = l2_loss(codes.w_plus[len(photo) :], w_true)
        if self.config.training.diversity:
            refined = self.model.config.refined_layers
            losses["diversity"] = diversity_loss(own.P, own.Q, self.generator.table, refined)
        return losses

    def _refined(self, codes: Codes) -> Tensor:
        tokens = PackedTokens(P=codes.P.float(), Q=codes.Q.float())
        return self.synthesize(codes.w_plus, tokens)
