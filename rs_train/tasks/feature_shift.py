"""Training of FeatureShift: many domains at once, each picture of a batch in its own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.data import ImageFolder
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.tokens import at_strength
from rs_train.grids import grid, to_pixels
from rs_train.inverters.build import build
from rs_train.inverters.feature_style import FeatureStyle, FeatureStyleEncoder, draw
from rs_train.tasks.image_losses import LossNetworks
from rs_train.tasks.inverter import InverterRun, InverterTask, frozen

SHOWN_HEADS, SHOWN_DOMAINS = 4, 6  # of a sample grid


class FeatureShiftTask(InverterTask):
    """Trains a FeatureShift on a frozen encoder, a frozen generator and its domains.

    What a photo looks like in a domain is not known. As in the published training, the encoder's
    w_plus of a photo is drawn by the generator as it is and in a domain: the first picture is
    inverted, the second is what its feature, moved, has to give. Beside it the photo itself has to
    come back where there is no domain.
    """

    model_name = "feature_shift"

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        out: Path,
        *,
        base: FeatureStyleEncoder,
        domains: PackedTokens,
        networks: LossNetworks | None = None,
        validation: ImageFolder | None = None,
        init: nn.Module | None = None,
        trunk: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the model from the loop's seed, or go on with `init`.

        Args:
            config: The run.
            generator: The unadapted generator.
            out: Target file.
            base: The encoder.
            domains: Tokens of all domains, a row a domain.
            networks: What the losses look through.
            validation: Held-out photos.
            init: What to go on with.
            trunk: Must be None; there is none to start.

        Raises:
            IncompatibleError: The encoder finds the input of another convolution.
            UsageError: There is a trunk.
        """
        if trunk is not None:
            raise UsageError("--weights trunk: FeatureShift has no trunk")
        torch.manual_seed(config.loop.seed)
        model = init or build(self.model_name, config.network, generator.config)
        _refuse_other_layer(model, base)
        super().__init__(config, generator, model, out, networks=networks, validation=validation)
        self.base = frozen(base).to(self.device, memory_format=torch.channels_last)
        self.domains = PackedTokens(
            *(None if part is None else part.to(self.device) for part in domains)
        )
        self._optimize(list(model.parameters()))

    def stages(self, photo: Tensor) -> list[Tensor]:
        """The photo without a domain."""
        return [self._draw(self.encode(photo))]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses of the photo without a domain, and of a drawn head in a domain."""
        found = self.encode(photo)
        losses = self.image_losses(self._draw(found), photo)
        domain = self._drawn_domains(len(photo))
        source, wanted = self._pairs(found.w_plus, domain)
        adapted = self.image_losses(self._draw(self.encode(source), domain), wanted)
        training = self.config.training
        losses["domain"] = sum(getattr(training, name) * value for name, value in adapted.items())
        return losses

    @torch.no_grad()
    def encode(self, image: Tensor) -> FeatureStyle:
        """What the encoder finds in images [N, 3, S, S], fp32."""
        return FeatureStyle(*(part.float() for part in self.base(image)))

    @torch.no_grad()
    def samples(self) -> np.ndarray | None:
        """Rows of a photo, the photo without a domain, and in the first domains."""
        if self.validation is None:
            return None
        photo = self._place(self.validation.images(range(SHOWN_HEADS)))
        self.model.eval()
        found = self.encode(photo)
        pictures = [photo, self._draw(found)]
        for index in range(min(SHOWN_DOMAINS, self._count)):
            pictures.append(self._draw(found, self._domains(torch.full((len(photo),), index))))
        pixels = np.stack([to_pixels(image.clamp(-1, 1)) for image in pictures], axis=1)
        return grid(pixels.reshape(-1, *pixels.shape[2:]), len(pictures))

    @property
    def _count(self) -> int:
        return len(next(part for part in self.domains if part is not None))

    def _domains(self, index: Tensor) -> PackedTokens:
        index = index.to(self.device)
        return PackedTokens(*(None if part is None else part[index] for part in self.domains))

    def _drawn_domains(self, count: int) -> PackedTokens:
        least = self.config.training.strength
        strength = least + (1 - least) * torch.rand(count, device=self.device)
        index = torch.randint(self._count, (count,), device=self.device)
        return at_strength(self._domains(index), strength)

    def _draw(self, found: FeatureStyle, domain: PackedTokens | None = None) -> Tensor:
        synthesis = self.generator.synthesis
        return self.pooled(draw(synthesis, self.base, found, domain, move=self.model.edit))

    @torch.no_grad()
    def _pairs(self, w_plus: Tensor, domain: PackedTokens) -> tuple[Tensor, Tensor]:
        """Pictures of the same heads, [N, 3, S, S], without and in their domains."""
        pictures = self.synthesize(w_plus), self.synthesize(w_plus, domain)
        source, wanted = (self._place(self.pooled(image).clamp(-1, 1)) for image in pictures)
        return source, wanted


def _refuse_other_layer(model: nn.Module, base: FeatureStyleEncoder) -> None:
    found, expected = (
        (own.layer, own.feature_channels, "added" if own.residual else "whole")
        for own in (base.config, model.config)
    )
    if found != expected:
        raise IncompatibleError(
            "the encoder does not find what this FeatureShift moves",
            found=f"input of convolution {found[0]}, {found[1]} channels, {found[2]}",
            expected=f"input of convolution {expected[0]}, {expected[1]} channels, {expected[2]}",
            hint="set network.layer and network.residual to the encoder's",
        )
