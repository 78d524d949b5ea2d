"""How a domain changes the generator: what is optimised, and the file that it becomes."""

from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from rs_train.domains.description import DomainDescription
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.synthesis import Synthesis
from rs_train.generator.tokens import concatenate


class Parameterisation(Protocol):
    """A family of changes to a frozen generator; an nn.Module whose parameters are optimised."""

    suffix: ClassVar[str]  # of the file that it is written to

    def synthesize(self, synthesis: Synthesis, w_plus: Tensor, tokens: PackedTokens) -> Tensor:
        """Pictures [N, 3, R, R], unclamped, of heads in the domain, with gradients.

        Args:
            synthesis: The frozen network.
            w_plus: [N, num_ws, w_dim].
            tokens: The heads' own.
        """

    def penalty(self, synthesis: Synthesis) -> Tensor:
        """Size of the change, a scalar that is 0 for none and comparable between families.

        Mean over the convolutions of mean(dW^2) * Cin * k^2. 1 / (Cin k^2) is the mean square of a
        freshly drawn kernel, so 1 means a change as strong as the kernel that it changes.
        """

    def write(
        self, path: Path, generator: Generator, about: DomainDescription, record: dict[str, Any]
    ) -> None:
        """Write the change; `record` says how it was made and under which licence."""


def add_domain(image: PackedTokens, domain: PackedTokens) -> PackedTokens:
    """A picture's own residual plus a domain's change; dW add exactly, along L."""
    residual = concatenate(image, domain)
    return residual._replace(style_offset=domain.style_offset, modulation=domain.modulation)
