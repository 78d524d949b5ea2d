"""Selective cross-domain consistency: what the domain leaves alone stays as it was."""

import torch
from torch import Tensor, nn


class SelectiveConsistency(nn.Module):
    """Difference of latents before and after, over the channels that change least.

    How much a channel changes is the difference of the means after and before, over a sliding
    window of the last steps. Its state belongs to a training and is kept in its checkpoints.

    Args:
        channels: Numbers in a latent, rows times width.
        window: Steps of the sliding window.
        share: Share of the channels that are held, alpha.

    Source: DiFa (Zhang et al. 2022), the selective cross-domain consistency loss, on e4e's latents;
    window 50, alpha 0.6 and the slow start of `ramp` as released.
    """

    def __init__(self, channels: int, *, window: int = 50, share: float = 0.6) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("changes", torch.zeros(window, channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Mean absolute difference of latents [N, ...], the channels that change most counting 0.

        Also enters the batch into the window.
        """
        source, target = source.flatten(1).float(), target.flatten(1).float()
        with torch.no_grad():
            self.changes[self.seen % len(self.changes)] = (target - source).mean(dim=0)
            self.seen += 1
            change = self.changes.sum(dim=0).abs()
            held = change.argsort()[: int(self.share * len(change))]
        return (target - source)[:, held].abs().sum() / target.numel()

    def ramp(self, steps: int) -> float:
        """Weight of the loss, 0 until the window is full, then rising to 1 at the last step.

        Args:
            steps: Steps of the training.
        """
        window = len(self.changes)
        return max(0.0, (int(self.seen) - window) / max(steps - window, 1))
