"""The course of a learning rate."""

import math


def scheduled_rate(
    step: int, *, peak: float, steps: int, warmup: int = 0, decay_start: float = 0.0
) -> float:
    """Linear warm-up to the peak, a plateau, then a half cosine to zero at `steps`.

    Args:
        step: From 0 on.
        peak: The rate of the plateau.
        steps: Where the rate reaches zero.
        warmup: Steps of the warm-up.
        decay_start: Step at which the decay begins.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if step < decay_start:
        return peak
    progress = (step - decay_start) / max(steps - decay_start, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
