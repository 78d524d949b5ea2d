"""A domain as one number a channel: offsets of the styles, or factors on the layers' inputs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.layers import Layer, LayerTable
from rs_train.domains.description import DomainDescription
from rs_train.domains.parameterisation import add_domain
from rs_train.domains.token_file import write_domain
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.synthesis import Synthesis, module_name


class _ChannelParameterisation(nn.Module, ABC):
    """Numbers by input channel that add to a neutral value, the same for every head.

    Args:
        table: Layer table of the generator.
        layers: Whose inputs change, in packed order.
        first_layer: Layers that read an earlier row of w_plus than this are held at zero. The
            first rows decide pose and shape, which similar domains share.

    Raises:
        UsageError: No layer is left to learn.
    """

    suffix: ClassVar[str] = ".tokens"
    group: ClassVar[Literal["style_offset", "modulation"]]
    neutral: ClassVar[float]  # the value that changes nothing

    def __init__(self, table: LayerTable, layers: Sequence[Layer], first_layer: int) -> None:
        super().__init__()
        self.table = table
        self.layers = layers
        learns = [
            torch.full((layer.in_channels,), layer.w_index >= first_layer) for layer in layers
        ]
        columns = torch.cat(learns).nonzero()[:, 0]
        if not len(columns):
            raise UsageError(
                "training.first_layer leaves nothing to learn",
                found=str(first_layer),
                expected=f"at most {max(layer.w_index for layer in layers)}",
            )
        self.change = nn.Parameter(torch.zeros(len(columns)))
        self.register_buffer("_columns", columns, persistent=False)
        self._width = sum(layer.in_channels for layer in layers)

    def changes(self) -> Tensor:
        """Differences from the neutral value [sum of Cin over the layers]."""
        return self.change.new_zeros(self._width).index_copy(0, self._columns, self.change)

    @abstractmethod
    def packed(self, count: int) -> PackedTokens:
        """The same change for `count` samples."""

    def synthesize(self, synthesis: Synthesis, w_plus: Tensor, tokens: PackedTokens) -> Tensor:
        """Pictures of heads with their own residual and the domain's change."""
        return synthesis(w_plus, add_domain(tokens, self.packed(len(w_plus))), noise_mode="const")

    def penalty(self, synthesis: Synthesis) -> Tensor:
        """Size of the change of the convolutions' kernels where the style is 1, its first value."""
        changes = dict(zip(self.layers, self._by_layer(self.changes()), strict=True))
        sizes = []
        for layer in self.table.convs:
            weight = synthesis.layers[module_name(layer)].weight
            power = weight.square().mean(dim=(0, 2, 3))  # kernels are stored without their gain
            sizes.append((changes[layer].square() * power).mean())
        return torch.stack(sizes).mean()

    def write(
        self, path: Path, generator: Generator, about: DomainDescription, record: dict[str, Any]
    ) -> None:
        """Write a token set, fp32: the numbers are few, and fp16 is coarse around 1."""
        values = self._by_layer(self.neutral + self.changes().detach().cpu())
        group: dict[str, np.ndarray] = {
            layer.name: value.numpy() for layer, value in zip(self.layers, values, strict=True)
        }
        write_domain(
            path, generator, about, licence=record["licence"], dtype="F32", **{self.group: group}
        )

    def _by_layer(self, values: Tensor) -> tuple[Tensor, ...]:
        return values.split([layer.in_channels for layer in self.layers])


class StyleSpaceParameterisation(_ChannelParameterisation):
    """Offsets that are added to the styles, before demodulation.

    Source: StyleDomain (Alanov et al. 2023), its StyleSpace directions.

    Args:
        table: Layer table of the generator.
        torgb: Whether the toRGB layers' styles have offsets as well.
        first_layer: See `_ChannelParameterisation`.
    """

    group = "style_offset"
    neutral = 0.0

    def __init__(self, table: LayerTable, *, torgb: bool, first_layer: int = 0) -> None:
        layers = (*table.convs, *table.torgbs) if torgb else table.convs
        super().__init__(table, layers, first_layer)

    def packed(self, count: int) -> PackedTokens:
        """The same offsets for `count` samples, zero on the toRGB layers that have none."""
        missing = self.table.style_channels_with_torgb - self._width
        offset = nn.functional.pad(self.changes(), (0, missing))
        return PackedTokens(style_offset=offset.expand(count, -1))


class ModulationParameterisation(_ChannelParameterisation):
    """Factors on the convolutions' inputs, outside demodulation.

    Source: HyperDomainNet (Alanov et al. 2022), domain modulation as its code applies it.

    Args:
        table: Layer table of the generator.
        first_layer: See `_ChannelParameterisation`.
    """

    group = "modulation"
    neutral = 1.0

    def __init__(self, table: LayerTable, *, first_layer: int = 0) -> None:
        super().__init__(table, table.convs, first_layer)

    def packed(self, count: int) -> PackedTokens:
        """The same factors for `count` samples."""
        return PackedTokens(modulation=(1 + self.changes()).expand(count, -1))
