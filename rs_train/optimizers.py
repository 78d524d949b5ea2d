"""Adam as the training tasks use it, and the rate that they set each step."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Adam, Optimizer


def adam(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], eps: float = 1e-8
) -> Adam:
    """Adam whose steps a CUDA graph can hold; on a CPU, plain Adam."""
    parameters = list(parameters)
    is_on_gpu = parameters[0].is_cuda
    return Adam(parameters, lr, betas, eps, capturable=is_on_gpu, fused=is_on_gpu or None)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every group.

    A captured step reads its rate from memory, so there it is a tensor that keeps its place.
    """
    for group in optimizer.param_groups:
        if not group.get("capturable"):
            group["lr"] = rate
            continue
        device = group["params"][0].device
        if not isinstance(group["lr"], torch.Tensor) or group["lr"].device != device:
            group["lr"] = torch.zeros((), device=device)
        group["lr"].fill_(rate)
