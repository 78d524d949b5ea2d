"""e4e, a base inverter made for editing: one w and small differences from it.

Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", SIGGRAPH 2021. The heads are
pSp's; the first row's output is used for all rows, the others' are added to it (Eq. 1).
"""

from typing import ClassVar

from torch import Tensor

from rs_train.inverters.psp import PSP
from rs_train.inverters.style_head import add_to_first


class E4E(PSP):
    """Base inverter (e4e's Encoder4Editing at its last stage, and the average it adds).

    `rows` are the first row and the others' differences from it.
    """

    kind: ClassVar[str] = "e4e"

    def forward(self, image: Tensor) -> Tensor:
        """Invert images [N, 3, S, S] in [-1, 1] to w_plus [N, num_ws, w_dim]."""
        return add_to_first(self.rows(image)) + self.latent_avg
