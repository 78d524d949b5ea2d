"""Adam as the training tasks use it, the rate of a step, and the step itself."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from rs_train.processes import average_gradients


def adam(parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]) -> Adam:
    """Adam whose steps a CUDA graph can hold; on a CPU, plain Adam."""
    parameters = list(parameters)
    is_on_gpu = parameters[0].is_cuda
    return Adam(parameters, lr, betas, capturable=is_on_gpu, fused=is_on_gpu or None)


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


def minimise(optimizer: Optimizer, losses: Iterable[Tensor], *, clip_norm: float = 0.0) -> None:
    """One update by the gradient of a sum of losses, averaged over all processes.

    Args:
        optimizer: Of the parameters that follow.
        losses: Scalars; each is differentiated before the next is asked for, so that a batch in
            parts needs the memory of one part.
        clip_norm: Largest norm of the whole gradient; 0 leaves it alone.
    """
    optimizer.zero_grad(set_to_none=True)
    for loss in losses:
        loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    average_gradients(parameters)
    if clip_norm:
        nn.utils.clip_grad_norm_(parameters, clip_norm)
    optimizer.step()
