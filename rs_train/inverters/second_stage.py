"""What all second stages have in common: they improve on the inversion of a base inverter."""

from typing import Any, Protocol

from torch import Tensor

from rs_train.generator.synthesis import Synthesis


class SecondStage(Protocol):
    """A refiner, HyperStyle or HFGI; all are modules."""

    config: Any  # has image_size, the side S of what the model reads

    def improve(self, image: Tensor, w_plus: Tensor, first: Tensor, synthesis: Synthesis) -> Tensor:
        """Draw images closer to what the first inversion was made of.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            w_plus: Its first inversion [N, num_ws, w_dim].
            first: The image of that, [N, 3, R, R], unclamped; R is a multiple of S.
            synthesis: The frozen synthesis network.

        Returns:
            Unclamped images [N, 3, R, R].
        """
