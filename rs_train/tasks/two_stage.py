"""Training of the two-stage model: a refiner on top of a frozen base inverter."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.data import ImageFolder
from rs_train.generator import Generator, PackedTokens
from rs_train.inverters.base import first_latent
from rs_train.inverters.build import Network, build
from rs_train.inverters.refine import Refiner
from rs_train.perceptual.ir_se50 import start_trunk
from rs_train.tasks.image_losses import LossNetworks
from rs_train.tasks.inverter import InverterRun, InverterTask, frozen


class TwoStageTask(InverterTask):
    """Trains the refiner on what a frozen base inverter and a frozen generator leave undone."""

    model_name = "two_stage"

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        out: Path,
        *,
        base: nn.Module,
        networks: LossNetworks | None = None,
        validation: ImageFolder | None = None,
        init: Refiner | None = None,
        trunk: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the refiner, or go on with `init`.

        Args:
            config: The run.
            generator: Whose images are refined.
            out: Target file.
            base: Base inverter of any kind.
            networks: What the losses look through.
            validation: Held-out photos.
            init: What to go on with.
            trunk: A trunk to start from, as `read_trunk` returns it; without
                them the refiner starts from the base inverter's trunk where widths agree.

        Raises:
            IncompatibleError: The base inverter belongs to another generator.
        """
        torch.manual_seed(config.loop.seed)
        _refuse_other_generator(base, generator)
        model = init or _new_refiner(config.network, generator, base, trunk)
        super().__init__(config, generator, model, out, networks=networks, validation=validation)
        self.base = frozen(base).to(self.device, memory_format=torch.channels_last)
        self._optimize(list(model.parameters()))

    def stages(self, photo: Tensor) -> list[Tensor]:
        """First inversion and refined image."""
        w_plus, first = self._invert(photo)
        return [self.pooled(first), self.pooled(self._refine(photo, w_plus, first))]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses of the refined image."""
        w_plus, first = self._invert(photo)
        return self.image_losses(self.pooled(self._refine(photo, w_plus, first)), photo)

    @torch.no_grad()
    def _invert(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        w_plus = first_latent(self.base, photo, self.synthesize)
        return w_plus, self.synthesize(w_plus)

    def _refine(self, photo: Tensor, w_plus: Tensor, first: Tensor) -> Tensor:
        residual = self.model(photo, first)
        return self.synthesize(w_plus, PackedTokens(P=residual.P.float(), Q=residual.Q.float()))


def _new_refiner(
    network: Network,
    generator: Generator,
    base: nn.Module,
    trunk: Mapping[str, Tensor] | None,
) -> Refiner:
    model = build("two_stage", network, generator.config)
    if trunk is not None:
        # As published: an input layer of six channels starts at random.
        inner = {name: value for name, value in trunk.items() if not name.startswith("input_layer")}
        start_trunk(model, inner)
    elif hasattr(base, "pyramid") and base.config.channels == network.channels:
        model.start_from(base)
    return model


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
