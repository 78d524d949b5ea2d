"""What trainings on top of a frozen base inverter share."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.data import ImageFolder
from rs_train.generator import Generator
from rs_train.inverters.base import first_latent
from rs_train.inverters.build import build
from rs_train.tasks.image_losses import LossNetworks
from rs_train.tasks.inverter import InverterRun, InverterTask, frozen


class SecondStageTask(InverterTask):
    """Trains a model on what a frozen base inverter and a frozen generator leave undone.

    The model is a `SecondStage`.
    """

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        out: Path,
        *,
        base: nn.Module,
        networks: LossNetworks | None = None,
        validation: ImageFolder | None = None,
        init: nn.Module | None = None,
        trunk: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the model from the loop's seed, or go on with `init`.

        Args:
            config: The run.
            generator: Whose images are improved.
            out: Target file.
            base: Base inverter of any kind.
            networks: What the losses look through.
            validation: Held-out photos.
            init: What to go on with.
            trunk: A trunk to start from, see `start`.

        Raises:
            IncompatibleError: The base inverter belongs to another generator.
        """
        torch.manual_seed(config.loop.seed)
        _refuse_other_generator(base, generator)
        model = init
        if model is None:
            model = build(self.model_name, config.network, generator.config)
            self.start(model, base, trunk)
        super().__init__(config, generator, model, out, networks=networks, validation=validation)
        self.base = frozen(base).to(self.device, memory_format=torch.channels_last)
        self._optimize(list(model.parameters()))

    @abstractmethod
    def start(self, model: nn.Module, base: nn.Module, trunk: Mapping[str, Tensor] | None) -> None:
        """Let an untrained model begin with what its trunk can take over."""

    def stages(self, photo: Tensor) -> list[Tensor]:
        """First inversion and improved image."""
        w_plus, first = self.invert(photo)
        return [self.pooled(first), self.pooled(self._improve(photo, w_plus, first))]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses of the improved image."""
        return self.image_losses(self.pooled(self._improve(photo, *self.invert(photo))), photo)

    @torch.no_grad()
    def invert(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """First inversion of photos: w_plus and its image [N, 3, R, R], both fp32."""
        w_plus = first_latent(self.base, photo, self.synthesize).float()
        return w_plus, self.synthesize(w_plus)

    def _improve(self, photo: Tensor, w_plus: Tensor, first: Tensor) -> Tensor:
        return self.model.improve(photo, w_plus, first, self.generator.synthesis)


def _refuse_other_generator(base: nn.Module, generator: Generator) -> None:
    found = (base.config.num_ws, base.config.w_dim)
    expected = (generator.num_ws, generator.config.w_dim)
    if found != expected:
        raise IncompatibleError(
            "the base inverter belongs to another generator",
            found=f"w_plus {found[0]}×{found[1]}",
            expected=f"{expected[0]}×{expected[1]}",
            hint="train one: rs-train inverter --model style_transformer --generator FILE …",
        )
