"""A domain as new affine layers and one block's kernel offsets, for domains that are far away."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rs_runtime.contracts.errors import UsageError
from rs_train.domains.full import FullParameterisation
from rs_train.generator import PackedTokens
from rs_train.generator.synthesis import Synthesis, module_name


class AffinePlusParameterisation(FullParameterisation):
    """Trains the affine layers of a copy, and offsets of the kernels of one block.

    An offset [Cout, Cin] is the same on all taps. The affine layers are those of the convolutions
    and of toRGB; the block has both, too. Source: StyleDomain (Alanov et al. 2023), Affine+.

    Args:
        synthesis: The network to start from.
        block: Resolution of the block.

    Raises:
        UsageError: The network has no such block.
    """

    def __init__(self, synthesis: Synthesis, *, block: int = 64) -> None:
        super().__init__(synthesis, torgb=True)
        self.synthesis.requires_grad_(False)
        for module in self.synthesis.layers.values():
            module.affine.requires_grad_(True)
        names = [module_name(x) for x in synthesis.table.layers if x.resolution == block]
        if not names:
            raise UsageError(
                "affine_plus has no block to train",
                found=f"offset_block {block}",
                expected=f"a power of two from 4 to {synthesis.table.resolution}",
            )
        self.offsets = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros_like(synthesis.layers[name].weight[:, :, :1, :1]))
                for name in names
            }
        )

    def synthesize(self, synthesis: Synthesis, w_plus: Tensor, tokens: PackedTokens) -> Tensor:
        """Pictures by the copy with the offsets added to its kernels."""
        options = {"noise_mode": "const"}
        return functional_call(self.synthesis, self._kernels(), (w_plus, tokens), options)

    def penalty(self, synthesis: Synthesis) -> Tensor:
        """Size of the kernels' change and, for a w of unit mean square, of the styles'."""
        sizes = []
        for layer in synthesis.table.convs:
            name = module_name(layer)
            new, old = self.synthesis.layers[name].affine, synthesis.layers[name].affine
            sizes.append((new.weight - old.weight).square().mean())
            sizes.append((new.bias - old.bias).square().mean())
            if name in self.offsets:
                sizes.append(self.offsets[name].square().mean())
        return torch.stack(sizes).sum() / len(synthesis.table.convs)

    def state(self) -> dict[str, Tensor]:
        """State of the copy with the offsets added to its kernels."""
        return self.synthesis.state_dict() | self._kernels()

    def _kernels(self) -> dict[str, Tensor]:
        """The block's kernels by their names in the copy."""
        return {
            f"layers.{name}.weight": self.synthesis.layers[name].weight + offset
            for name, offset in self.offsets.items()
        }
