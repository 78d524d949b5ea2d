"""Training of base inverters: a picture in, w_plus out."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rs_train.data import ImageFolder
from rs_train.generator import Generator
from rs_train.inverters.build import Network, build
from rs_train.inverters.style_transformer import StyleTransformer
from rs_train.losses.l2 import l2_loss
from rs_train.perceptual.ir_se50 import start_trunk
from rs_train.tasks.image_losses import LossNetworks
from rs_train.tasks.inverter import InverterRun, InverterTask

STATISTICS_SEED = 0


class BaseInverterTask(InverterTask):
    """Trains a base inverter against a frozen synthesis network.

    Optionally with samples of the generator beside the photos: their w is known, and regressing it
    settles pose and identity in a fraction of the steps that images alone need. The published
    recipes do without; short trainings do not.
    """

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        out: Path,
        *,
        networks: LossNetworks | None = None,
        validation: ImageFolder | None = None,
        init: nn.Module | None = None,
        trunk: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the inverter from the loop's seed, or go on with `init`.

        Args:
            config: The run.
            generator: Whose latents are sought.
            out: Target file.
            networks: What the losses look through.
            validation: Held-out photos.
            init: What to go on with.
            trunk: A trunk to start from, as `read_trunk` returns it.
        """
        torch.manual_seed(config.loop.seed)
        model = init or _new(self.model_name, config.network, generator, trunk)
        super().__init__(config, generator, model, out, networks=networks, validation=validation)
        self._optimize(self._trained())

    def invert(self, image: Tensor) -> Tensor:
        """w_plus [N, num_ws, w_dim] of images [N, 3, S, S]."""
        return self.model(image)

    def latent_losses(self, w_plus: Tensor) -> dict[str, Tensor]:
        """Unweighted losses of the photos' latents themselves; none by default."""
        return {}

    def stages(self, photo: Tensor) -> list[Tensor]:
        """The first inversion alone."""
        return [self.pooled(self.synthesize(self.invert(photo)))]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses on the photos; on samples of the generator the squared error of w_plus."""
        count = self.config.training.generated
        sample, w_true = self._generate(count) if count else (photo[:0], None)
        w_plus = self.invert(torch.cat([photo, sample])).float()
        own = w_plus[: len(photo)]
        losses = self.image_losses(self.pooled(self.synthesize(own)), photo)
        if w_true is not None:
            losses["latent"] = l2_loss(w_plus[len(photo) :], w_true)
        return losses | self.latent_losses(own)

    def _trained(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    @torch.no_grad()
    def _generate(self, count: int) -> tuple[Tensor, Tensor]:
        """Images [count, 3, S, S] of random heads and their w_plus."""
        z = torch.randn(count, self.generator.config.z_dim, device=self.device)
        w_plus = self.generator.broadcast(self.generator.mapping(z).float())
        return self._place(self.pooled(self.synthesize(w_plus)).clamp(-1, 1)), w_plus


class PSPTask(BaseInverterTask):
    """Trains pSp: image losses alone."""

    model_name = "psp"


class StyleTransformerTask(BaseInverterTask):
    """Trains a StyleTransformer, whose queries come from the generator's mapping network."""

    model_name = "style_transformer"

    def invert(self, image: Tensor) -> Tensor:
        """w_plus with the queries of now."""
        return self.model(image, self._query())

    def finish(self, run_dir: Path, record: dict) -> list[Path]:
        """Write the inverter with its query baked in."""
        self.model.bake(self.generator.mapping)
        return super().finish(run_dir, record)

    def _trained(self) -> list[nn.Parameter]:
        parameters = super()._trained()
        if self.config.training.train_mapping:
            self.modules["mapping"] = self.generator.mapping_network.requires_grad_(True)
            parameters += list(self.generator.mapping_network.parameters())
        return parameters

    def _query(self) -> Tensor:
        # In fp32, as the baked query will be.
        with torch.autocast(self.device.type, enabled=False):
            return self.model.map_query(self.generator.mapping)


@torch.no_grad()
def _new(
    name: str, network: Network, generator: Generator, trunk: Mapping[str, Tensor] | None
) -> nn.Module:
    """An untrained inverter whose first guesses lie where the generator's w lie."""
    model = build(name, network, generator.config)
    if trunk is not None:
        start_trunk(model, trunk)
    base = getattr(model, "base", model)  # a one-stage inverter holds a StyleTransformer
    if isinstance(base, StyleTransformer):
        rng = torch.Generator().manual_seed(STATISTICS_SEED)
        w = generator.mapping(torch.randn(4096, generator.config.z_dim, generator=rng))
        base.start_from(generator.latent_avg, w.std(0))
    else:
        base.latent_avg.copy_(generator.latent_avg.expand_as(base.latent_avg))
    return model
